-- The three database roles. Roles belong to the whole server, so they are made apart from the migrations.
-- The service runs this itself where its login may create roles; elsewhere a DBA runs it once, as
--   psql --set login=app_login --set migrator=migration_login --file migrations/roles.sql
-- with the logins of DATABASE_URL and DATABASE_OWNER_URL (the same one twice where there is only one).
-- Make the login of DATABASE_URL `noinherit nosuperuser nobypassrls`: then it sees nothing at all outside of a
-- transaction that took on one of the roles. Running this again does no harm.

do $$
declare
  role_name text;
begin
  foreach role_name in array array['notif_owner', 'notif_api', 'notif_worker'] loop
    begin
      execute format('create role %I nologin nosuperuser nobypassrls', role_name);
    exception when duplicate_object or unique_violation then
      null; -- made before, or at this very moment by another instance
    end;
  end loop;
end
$$;

grant usage, create on schema public to notif_owner;
grant usage on schema public to notif_api, notif_worker;
grant notif_api, notif_worker to :login;
grant notif_owner, notif_api, notif_worker to :migrator;
