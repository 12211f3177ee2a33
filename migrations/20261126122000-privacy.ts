import { Migration } from '@mikro-orm/migrations';

import { enableTenantIsolation } from './row-level-security.ts';

/** Adds retention, masking and erasure of personal data. */
export class Privacy extends Migration {
  override up(): void {
    this.addSql(`
      alter table "notification_log" add column "is_reduced" boolean not null default false;

      create table "privacy_job" ("tenant_id" text not null, "kind" text not null, "cursor" uuid not null,
        "updated_at" timestamptz not null default now(), primary key ("tenant_id", "kind"));
      create table "erasure" ("id" uuid not null, "tenant_id" text not null, "user_id" text null,
        "addresses" jsonb not null default '{}', "requested_by" text not null, "trace_id" text not null,
        "requested_at" timestamptz not null default now(), "cursor" uuid null,
        "notifications" int not null default 0, "delivery_records" int not null default 0,
        "others" int not null default 0, "completed_at" timestamptz null, primary key ("id"));
      create index "erasure_open" on "erasure" ("id") where completed_at is null;
      create index "erasure_newest" on "erasure" ("tenant_id", "id");
    `);
    for (const table of ['privacy_job', 'erasure']) this.addSql(enableTenantIsolation(table));
    this.addSql(`
      grant select, insert, update on "privacy_job" to "notif_worker";
      grant select, insert on "erasure" to "notif_api";
      grant select, update on "erasure" to "notif_worker";
      grant delete on "notification", "notification_log", "inbox", "sandbox_message", "rejected_event",
        "notification_preference", "recipient_profile" to "notif_worker";
    `);
  }

  override down(): void {
    this.addSql(`
      revoke delete on "notification", "notification_log", "inbox", "sandbox_message", "rejected_event",
        "notification_preference", "recipient_profile" from "notif_worker";
      drop table "erasure", "privacy_job";
      alter table "notification_log" drop column "is_reduced";
    `);
  }
}
