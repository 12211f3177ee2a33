import { Migration } from '@mikro-orm/migrations';

import { enableTenantIsolation } from './row-level-security.ts';

const TABLES = ['notification_preference', 'recipient_profile', 'suppression'];

/** Adds preferences, suppressions and the replay of rejected events. */
export class People extends Migration {
  override up(): void {
    this.addSql(`
      create table "notification_preference" ("tenant_id" text not null, "user_id" text not null,
        "category" text not null, "channel" text not null, "is_enabled" boolean not null,
        "updated_at" timestamptz not null default now(), primary key ("tenant_id", "user_id", "category", "channel"));
      create table "recipient_profile" ("tenant_id" text not null, "user_id" text not null, "time_zone" text null,
        "updated_at" timestamptz not null default now(), primary key ("tenant_id", "user_id"));
      create table "suppression" ("id" uuid not null, "tenant_id" text not null, "channel" text not null,
        "address_hash" text not null, "address_masked" text not null, "category" text not null default '',
        "reason" text not null, "source_log_id" uuid null, "created_by" text null,
        "created_at" timestamptz not null default now(), primary key ("id"));
      alter table "suppression" add constraint "suppression_address"
        unique ("tenant_id", "channel", "address_hash", "category");
      alter table "suppression" add constraint "suppression_reason"
        check (reason in ('hard_bounce', 'complaint', 'unsubscribed', 'manual'));
      create index "suppression_newest" on "suppression" ("tenant_id", "id");

      create index "notification_log_collapse" on "notification_log" ("tenant_id", "collapse_key", "id")
        where collapse_key is not null;
      alter table "rejected_event" add column "replayed_at" timestamptz null, add column "replayed_log_id" uuid null,
        add column "replayed_by" text null;
    `);
    for (const table of TABLES) {
      this.addSql(`
        ${enableTenantIsolation(table)}
        grant select, insert, update, delete on "${table}" to "notif_api";
        grant select, insert on "${table}" to "notif_worker";
      `);
    }
    this.addSql(`
      grant update (status, due_at, error_code, error_message, sent_at, updated_at, route, step, step_attempts, provider,
        excluded_providers, claims, scheduled_at) on "notification_log" to "notif_api";
      grant update (reason, message, replayed_at, replayed_log_id, replayed_by) on "rejected_event"
        to "notif_api", "notif_worker";
    `);
  }

  override down(): void {
    this.addSql(`
      revoke update (reason, message, replayed_at, replayed_log_id, replayed_by) on "rejected_event"
        from "notif_api", "notif_worker";
      revoke update (status, due_at, error_code, error_message, sent_at, updated_at, route, step, step_attempts, provider,
        excluded_providers, claims, scheduled_at) on "notification_log" from "notif_api";
      alter table "rejected_event" drop column "replayed_at", drop column "replayed_log_id", drop column "replayed_by";
      drop index "notification_log_collapse";
      drop table ${TABLES.map((table) => `"${table}"`).join(', ')};
    `);
  }
}
