"""An asyncio client for Hugging Face Spaces, with bulk operations over a whole org.

```python
import asyncio
from spaces_async import Selection, SpacesClient


async def main() -> None:
    async with SpacesClient() as client:  # HF_TOKEN, or the token file
        runtime = await client.lifecycle.get_runtime("acme/demo")
        print(runtime.stage, runtime.hardware)
        broken = Selection(author="acme", stages="failed")
        report = await client.bulk.restart(broken, concurrency=16)
        print(report.summary())


asyncio.run(main())
```
"""

from spaces_async._version import __version__
from spaces_async.bulk import (
    BulkOptions,
    BulkProgress,
    BulkReport,
    BulkStream,
    JournalError,
    Operation,
    Outcome,
    OutcomeStatus,
    Selection,
)
from spaces_async.client import SpacesClient
from spaces_async.errors import (
    ActionLimitError,
    AuthenticationError,
    BadRequestError,
    BulkError,
    BulkInterruptedError,
    ClientClosedError,
    ComputeQuotaError,
    ConfigurationError,
    ConflictError,
    ConnectionFailedError,
    ConnectionLostError,
    HubResponseError,
    HubServerError,
    InvalidHardwareError,
    NotFoundError,
    PaymentRequiredError,
    PermissionDeniedError,
    RateLimitError,
    RedirectRefusedError,
    RequestTimeoutError,
    ResponseTooLargeError,
    SpaceFailedError,
    SpaceNotFoundError,
    SpacesError,
    StreamInterruptedError,
    TransportError,
    UnexpectedResponseError,
    UnseenOwnerError,
    WaitTimeoutError,
)
from spaces_async.hf_api import AsyncHfApi
from spaces_async.models import (
    CreatedSpace,
    Domain,
    HotReloading,
    Replicas,
    SpaceHardware,
    SpaceInfo,
    SpaceRuntime,
    SpaceSdk,
    SpaceSecret,
    SpaceStage,
    SpaceStorage,
    SpaceVariable,
    Volume,
    VolumeType,
)
from spaces_async.records import (
    Accelerator,
    Account,
    HardwareFlavor,
    KeyOutcome,
    LogLine,
    Membership,
    OrganizationMember,
    SpaceEvent,
    SpaceMetrics,
    SpaceSearchResult,
    SpaceTemplate,
    ZeroGpuQuota,
)
from spaces_async.settings import ClientSettings, QuotaWait, RetryPolicy, Timeouts

__all__ = [
    "Accelerator",
    "Account",
    "ActionLimitError",
    "AsyncHfApi",
    "AuthenticationError",
    "BadRequestError",
    "BulkError",
    "BulkInterruptedError",
    "BulkOptions",
    "BulkProgress",
    "BulkReport",
    "BulkStream",
    "ClientClosedError",
    "ClientSettings",
    "ComputeQuotaError",
    "ConfigurationError",
    "ConflictError",
    "ConnectionFailedError",
    "ConnectionLostError",
    "CreatedSpace",
    "Domain",
    "HardwareFlavor",
    "HotReloading",
    "HubResponseError",
    "HubServerError",
    "InvalidHardwareError",
    "JournalError",
    "KeyOutcome",
    "LogLine",
    "Membership",
    "NotFoundError",
    "Operation",
    "OrganizationMember",
    "Outcome",
    "OutcomeStatus",
    "PaymentRequiredError",
    "PermissionDeniedError",
    "QuotaWait",
    "RateLimitError",
    "RedirectRefusedError",
    "Replicas",
    "RequestTimeoutError",
    "ResponseTooLargeError",
    "RetryPolicy",
    "Selection",
    "SpaceEvent",
    "SpaceFailedError",
    "SpaceHardware",
    "SpaceInfo",
    "SpaceMetrics",
    "SpaceNotFoundError",
    "SpaceRuntime",
    "SpaceSdk",
    "SpaceSearchResult",
    "SpaceSecret",
    "SpaceStage",
    "SpaceStorage",
    "SpaceTemplate",
    "SpaceVariable",
    "SpacesClient",
    "SpacesError",
    "StreamInterruptedError",
    "Timeouts",
    "TransportError",
    "UnexpectedResponseError",
    "UnseenOwnerError",
    "Volume",
    "VolumeType",
    "WaitTimeoutError",
    "ZeroGpuQuota",
    "__version__",
]
