"""Hints for names that are not where they were looked for. Pure.

The names are written down here, so that a wrong guess costs no import; the tests compare
them with the classes, and with the official client.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Final, NoReturn

METHODS: Final[dict[str, tuple[str, ...]]] = {
    "catalog": (
        "list_spaces",
        "get_info",
        "get_info_by_subdomain",
        "search_spaces",
        "list_templates",
        "trending",
        "whoami",
        "list_organization_members",
    ),
    "lifecycle": (
        "get_runtime",
        "restart",
        "pause",
        "wait_until",
        "wake",
        "create",
        "delete",
        "move",
        "duplicate",
    ),
    "config": (
        "get_variables",
        "add_variable",
        "delete_variable",
        "get_secrets",
        "add_secret",
        "delete_secret",
        "add_variables",
        "add_secrets",
        "set_visibility",
        "set_dev_mode",
        "set_custom_domain",
    ),
    "hardware": (
        "list_flavors",
        "get_zero_gpu_quota",
        "set_replicas",
        "request_hardware",
        "set_sleep_time",
    ),
    "billing": (
        "get_usage",
        "estimate",
    ),
    "storage": (
        "get_volumes",
        "set_volumes",
        "add_volume",
        "remove_volume",
        "delete_volumes",
        "request_storage",
        "delete_storage",
    ),
    "logs": (
        "stream_logs",
        "stream_many",
        "stream_events",
        "stream_metrics",
    ),
    "bulk": (
        "restart",
        "pause",
        "delete",
        "request_hardware",
        "set_sleep_time",
        "set_replicas",
        "set_dev_mode",
        "set_visibility",
        "set_custom_domain",
        "add_variable",
        "add_variables",
        "delete_variable",
        "delete_variables",
        "add_secret",
        "add_secrets",
        "delete_secret",
        "delete_secrets",
        "set_volumes",
        "add_volumes",
        "remove_volumes",
        "delete_volumes",
        "request_storage",
        "delete_storage",
        "run",
        "stream",
        "resume",
        "work",
        "get_run",
        "cancel",
        "retry_failed",
        "plan",
        "plan_undo",
        "undo",
    ),
}
"""The methods of a client's resources."""

OFFICIAL_NAMES: Final[dict[str, str]] = {
    "list_spaces_hardware": "hardware.list_flavors",
    "list_space_templates": "catalog.list_templates",
    "space_info": "catalog.get_info",
    "get_space_runtime": "lifecycle.get_runtime",
    "restart_space": "lifecycle.restart",
    "pause_space": "lifecycle.pause",
    "wait_for_space": "lifecycle.wait_until",
    "duplicate_space": "lifecycle.duplicate",
    "duplicate_repo": "lifecycle.duplicate",
    "create_repo": "lifecycle.create",
    "delete_repo": "lifecycle.delete",
    "move_repo": "lifecycle.move",
    "fetch_space_logs": "logs.stream_logs",
    "request_space_hardware": "hardware.request_hardware",
    "set_space_sleep_time": "hardware.set_sleep_time",
    "enable_space_dev_mode": "config.set_dev_mode",
    "disable_space_dev_mode": "config.set_dev_mode",
    "update_repo_settings": "config.set_visibility",
    "get_space_variables": "config.get_variables",
    "add_space_variable": "config.add_variable",
    "delete_space_variable": "config.delete_variable",
    "get_space_secrets": "config.get_secrets",
    "add_space_secret": "config.add_secret",
    "delete_space_secret": "config.delete_secret",
    "set_space_volumes": "storage.set_volumes",
    "delete_space_volumes": "storage.delete_volumes",
    "request_space_storage": "storage.request_storage",
    "delete_space_storage": "storage.delete_storage",
}
"""The names of the official client, and the methods here that do the same."""

_FIRST_GUESSES: Final[dict[str, tuple[str, ...]]] = {
    "close": ("aclose",),
    "costs": ("billing.estimate", "billing.get_usage"),
    "usage": ("billing.get_usage",),
    "duplicate_many": ("bulk.run",),
    "info": ("catalog.get_info",),
    "runtime": ("lifecycle.get_runtime",),
    "status": ("lifecycle.get_runtime",),
    "wait": ("lifecycle.wait_until",),
    "secrets": ("config.get_secrets",),
    "variables": ("config.get_variables",),
    "volumes": ("storage.get_volumes",),
    "events": ("logs.stream_events",),
    "metrics": ("logs.stream_metrics",),
    "list": ("catalog.list_spaces",),
    "search": ("catalog.search_spaces",),
}

NOT_ABOUT_SPACES: Final = frozenset(
    [
        "accept_access_request",
        "add_collection_item",
        "auth_check",
        "batch_bucket_files",
        "bucket_info",
        "cancel_access_request",
        "cancel_job",
        "change_discussion_status",
        "comment_discussion",
        "copy_files",
        "create_branch",
        "create_bucket",
        "create_collection",
        "create_commit",
        "create_discussion",
        "create_inference_endpoint",
        "create_inference_endpoint_from_catalog",
        "create_pull_request",
        "create_scheduled_job",
        "create_scheduled_uv_job",
        "create_tag",
        "create_webhook",
        "dataset_info",
        "delete_branch",
        "delete_bucket",
        "delete_collection",
        "delete_collection_item",
        "delete_file",
        "delete_files",
        "delete_folder",
        "delete_inference_endpoint",
        "delete_scheduled_job",
        "delete_tag",
        "delete_webhook",
        "disable_webhook",
        "download_bucket_files",
        "edit_discussion_comment",
        "enable_webhook",
        "fetch_job_logs",
        "fetch_job_metrics",
        "file_exists",
        "get_bucket_file_metadata",
        "get_bucket_paths_info",
        "get_collection",
        "get_dataset_leaderboard",
        "get_dataset_tags",
        "get_discussion_details",
        "get_full_repo_name",
        "get_hf_file_metadata",
        "get_inference_endpoint",
        "get_model_tags",
        "get_organization_overview",
        "get_paths_info",
        "get_repo_discussions",
        "get_safetensors_metadata",
        "get_sharded_safetensors_metadata",
        "get_user_overview",
        "get_webhook",
        "grant_access",
        "hf_hub_download",
        "hide_discussion_comment",
        "inspect_job",
        "inspect_scheduled_job",
        "kernel_info",
        "list_accepted_access_requests",
        "list_bucket_tree",
        "list_buckets",
        "list_collections",
        "list_daily_papers",
        "list_dataset_parquet_files",
        "list_datasets",
        "list_inference_catalog",
        "list_inference_endpoints",
        "list_inference_endpoints_hardware",
        "list_jobs",
        "list_jobs_hardware",
        "list_lfs_files",
        "list_liked_repos",
        "list_models",
        "list_organization_followers",
        "list_organization_members",
        "list_papers",
        "list_pending_access_requests",
        "list_rejected_access_requests",
        "list_repo_commits",
        "list_repo_files",
        "list_repo_likers",
        "list_repo_refs",
        "list_repo_tree",
        "list_scheduled_jobs",
        "list_user_followers",
        "list_user_following",
        "list_user_repos",
        "list_webhooks",
        "merge_pull_request",
        "model_info",
        "move_bucket",
        "paper_info",
        "parse_safetensors_file_metadata",
        "pause_inference_endpoint",
        "permanently_delete_lfs_files",
        "preupload_lfs_files",
        "read_paper",
        "reject_access_request",
        "rename_discussion",
        "repo_exists",
        "repo_info",
        "rerun_job",
        "resolve_revision",
        "resume_inference_endpoint",
        "resume_scheduled_job",
        "revision_exists",
        "run_as_future",
        "run_job",
        "run_uv_job",
        "scale_to_zero_inference_endpoint",
        "snapshot_download",
        "super_squash_history",
        "suspend_scheduled_job",
        "sync_bucket",
        "sync_job_volume",
        "trigger_scheduled_job",
        "unlike",
        "update_bucket_settings",
        "update_collection_item",
        "update_collection_metadata",
        "update_collection_resource_group",
        "update_inference_endpoint",
        "update_job_expose",
        "update_job_labels",
        "update_scheduled_job_labels",
        "update_scheduled_job_schedule",
        "update_webhook",
        "upload_attachment",
        "upload_file",
        "upload_folder",
        "verify_repo_checksums",
        "wait_for_job",
    ]
)
"""The public methods of `HfApi` (huggingface_hub 2.4) that are not about Spaces."""


class Resource:
    """A resource of a client, whose missing names get a hint."""

    __slots__ = ()

    if not TYPE_CHECKING:  # for a type checker, a wrong name stays an error

        def __getattr__(self, name: str) -> NoReturn:
            if name.startswith("_"):
                raise AttributeError(name)
            raise missing_in_resource(type(self).__name__.lower(), name)


def missing_in_client(name: str) -> AttributeError:
    """Return the error for a name that `SpacesClient` does not have."""
    return _error("SpacesClient", name, _places(name))


def missing_in_resource(resource: str, name: str) -> AttributeError:
    """Return the error for a name that a resource, such as "lifecycle", does not have."""
    close = difflib.get_close_matches(name, METHODS.get(resource, ()), n=1, cutoff=0.8)
    near = [f"{resource}.{each}" for each in close]
    places = _exact_places(name) or near or _places(name)
    return _error(f"client.{resource}", name, places)


def missing_in_official_face(name: str) -> AttributeError:
    """Return the error for a name that `AsyncHfApi` does not have."""
    if name in NOT_ABOUT_SPACES:
        return AttributeError(
            f"AsyncHfApi has no {name!r}: it is not about Spaces; use"
            f" huggingface_hub.HfApi for it, in a thread: await asyncio.to_thread("
            f"HfApi().{name}, ...)",
            name=name,
        )
    close = difflib.get_close_matches(name, OFFICIAL_NAMES, n=1, cutoff=0.8)
    hint = f"; did you mean {close[0]}?" if close else ""
    places = [f"api.client.{place}" for place in _places(name)]
    if places and not close:
        hint = f"; did you mean {' or '.join(places)}?"
    return AttributeError(f"AsyncHfApi has no {name!r}{hint}", name=name)


def _places(name: str) -> list[str]:
    if exact := _exact_places(name):
        return exact
    if name in OFFICIAL_NAMES:
        return [OFFICIAL_NAMES[name]]
    if name in _FIRST_GUESSES:
        return list(_FIRST_GUESSES[name])
    everything = [each for names in METHODS.values() for each in names]
    close = difflib.get_close_matches(name, everything, n=1, cutoff=0.8)
    return [f"{r}.{n}" for n in close for r, names in METHODS.items() if n in names]


def _exact_places(name: str) -> list[str]:
    return [f"{room}.{name}" for room, names in METHODS.items() if name in names]


def _error(owner: str, name: str, places: list[str]) -> AttributeError:
    where = " or ".join(f"client.{place}" for place in places)
    hint = f"; did you mean {where}?" if where else ""
    return AttributeError(f"{owner} has no {name!r}{hint}", name=name)
