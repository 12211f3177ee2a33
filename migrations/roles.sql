-- Creates the three database roles. They are not part of the migrations, because roles belong to the whole server.
-- The service runs this script itself if its database user may create roles. Otherwise a DBA runs it once:
--   psql --set login=app_login --set migrator=migration_login --file migrations/roles.sql
-- with the users of DATABASE_URL and DATABASE_OWNER_URL (or the same user twice).
-- Create the user of DATABASE_URL with `noinherit nosuperuser nobypassrls`. It then sees no data outside of a transaction
-- that has set one of the roles. The script can be run repeatedly.

do $$
declare
  role_name text;
begin
  foreach role_name in array array['notif_owner', 'notif_api', 'notif_worker'] loop
    begin
      execute format('create role %I nologin nosuperuser nobypassrls', role_name);
    exception when duplicate_object or unique_violation then
      null; -- already exists, or another instance is creating it now
    end;
  end loop;
end
$$;

grant usage, create on schema public to notif_owner;
grant usage on schema public to notif_api, notif_worker;
grant notif_api, notif_worker to :login;
grant notif_owner, notif_api, notif_worker to :migrator;
