-- Once for a cluster, by its superuser, before the first migration:
--
--     psql -v owner=... -v app=... -v operator=... -f docker/postgres/roles.sql
--
-- with a password for each of the three logins. Then
--
--     CREATE DATABASE voicereel OWNER voicereel_migrator;
--
-- and DATABASE_URL names voicereel_migrator where `manage.py migrate` runs, voicereel_web for web
-- processes and workers, and voicereel_operations for the relay, beat with its worker, the console, and
-- operators' commands.

-- One tenant's rows at a time, by row-level security; and all rows.
SELECT 'CREATE ROLE voicereel_app NOLOGIN'
    WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'voicereel_app') \gexec
SELECT 'CREATE ROLE voicereel_operator NOLOGIN'
    WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'voicereel_operator') \gexec

CREATE ROLE voicereel_migrator LOGIN PASSWORD :'owner' IN ROLE voicereel_operator;
CREATE ROLE voicereel_web LOGIN PASSWORD :'app' IN ROLE voicereel_app;
CREATE ROLE voicereel_operations LOGIN PASSWORD :'operator' IN ROLE voicereel_operator;

-- Where the database has an owner already, before it migrates on: GRANT voicereel_operator TO it.

-- Row-level security holds for the owner too: pg_dump needs a superuser, or a role with BYPASSRLS.
