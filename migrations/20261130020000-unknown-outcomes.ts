import { Migration } from '@mikro-orm/migrations';

/** Adds what an unknown outcome leaves behind, and the instances that own the rows in flight. */
export class UnknownOutcomes extends Migration {
  override up(): void {
    this.addSql(`
      create table "dispatcher_instance" ("id" uuid not null, "seen_at" timestamptz not null default now(),
        primary key ("id"));
      grant select, insert, update, delete on "dispatcher_instance" to "notif_worker";

      alter table "notification_log" add column "lease_owner" uuid null, add column "unknown_since" int null;
      create index "notification_log_owner" on "notification_log" ("lease_owner") where status = 'sending';
      grant update ("unknown_since") on "notification_log" to "notif_api";
      alter table "delivery_attempt" add column "deduplicates" boolean not null default false;
    `);
  }

  override down(): void {
    this.addSql(`
      alter table "delivery_attempt" drop column "deduplicates";
      drop index "notification_log_owner";
      alter table "notification_log" drop column "lease_owner", drop column "unknown_since";
      drop table "dispatcher_instance";
    `);
  }
}
