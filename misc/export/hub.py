"""The upload of an exported folder to the Hugging Face hub."""

from pathlib import Path

from errors import InputError
from text_utils.hub import is_repository


def check_repository(name: str) -> None:
    """Check the name of a repository before anything is written.

    Raises:
        InputError: it is not ORG/NAME.
    """
    if not is_repository(name):
        raise InputError(f"--push {name}: give a repository on the hub as ORG/NAME")


def push(folder: Path, repository: str, is_public: bool = False) -> str:
    """Upload a folder, as a new repository unless there is one; its address and who can read it.

    Args:
        is_public: whether everybody can read a new repository; one that exists stays as it is.

    Raises:
        InputError: there is no token, no network, or no right to write there.
    """
    from huggingface_hub import HfApi

    try:
        api = HfApi()
        api.create_repo(repository, exist_ok=True, private=not is_public)
        api.upload_folder(
            repo_id=repository, folder_path=folder, commit_message="Export a trained model"
        )
        readers = "private" if api.model_info(repository).private else "public"
    except Exception as error:  # of the hub, of its client, of the network
        raise InputError(
            f"{folder} is whole, but was not uploaded to {repository}: {_reason(error)}; upload it "
            f"by `hf upload {repository} {folder}`"
        ) from error
    return f"https://huggingface.co/{repository} ({readers})"


def _reason(error: Exception) -> str:
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    answer = error.response if isinstance(error, HfHubHTTPError) else None
    if isinstance(error, LocalTokenNotFoundError) or (answer and answer.status_code == 401):
        return "there is no valid token, run `hf auth login` or set HF_TOKEN"
    if answer and answer.status_code == 403:
        return "the token has no right to write there"
    if answer:
        return f"the hub answered {answer.status_code} ({_first_line(error)})"
    return f"the hub cannot be reached ({_first_line(error)})"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
