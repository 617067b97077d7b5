"""Whether the version before can go on with the migrations since a commit: ``make lint-migrations SINCE=main``.

It asks a PostgreSQL what they would do (DATABASE_URL), and looks for what locks a table for long or takes away what
processes of the version before still use.
"""

import os
import sys
from pathlib import Path

import django

_NOWHERE = "postgres://postgres@127.0.0.1:5432/postgres"


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "voicereel_site.settings")
    os.environ.setdefault("DATABASE_URL", _NOWHERE)
    os.environ.setdefault("VOICEREEL_ENVIRONMENT", "test")
    os.environ.setdefault("VOICEREEL_MAIL_URL", "consolemail://")
    for name in ("SECRET_KEY", "API_KEY_PEPPER", "ENCRYPTION_KEYS"):
        os.environ.setdefault(f"VOICEREEL_{name}", "unused")
    django.setup()
    from django_migration_linter import MigrationLinter

    linter = MigrationLinter(str(Path.cwd()), no_cache=True, all_warnings_as_errors=True)
    linter.lint_all_migrations(git_commit_id=sys.argv[1])
    linter.print_summary()
    return int(linter.has_errors)


if __name__ == "__main__":
    sys.exit(main())
