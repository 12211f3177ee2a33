import { Migration } from '@mikro-orm/migrations';

/** Adds the commit order of audit events and the position of the audit relay. */
export class Audit extends Migration {
  override up(): void {
    this.addSql(`
      alter table "audit_event" add column "xid" xid8 not null default pg_current_xact_id();
      create index "audit_event_committed" on "audit_event" ("xid", "id");
      create index "audit_event_action" on "audit_event" ("tenant_id", "action", "id");

      create table "audit_relay" ("name" text not null, "xid" xid8 not null, "event_id" uuid not null,
        "passed_on_at" timestamptz not null default now(), primary key ("name"));

      grant select on "audit_event" to "notif_worker";
      grant select, insert, update on "audit_relay" to "notif_worker";
    `);
  }

  override down(): void {
    this.addSql(`
      revoke select on "audit_event" from "notif_worker";
      drop table "audit_relay";
      drop index "audit_event_action";
      drop index "audit_event_committed";
      alter table "audit_event" drop column "xid";
    `);
  }
}
