import { Migration } from '@mikro-orm/migrations';

import { enableTenantIsolation } from './row-level-security.ts';

/** Adds inbox changes, connected clients and token revocations. */
export class Live extends Migration {
  override up(): void {
    this.addSql(`
      create index "notification_unread" on "notification" ("tenant_id", "user_id", "created_seq")
        where read_at is null and archived_at is null;

      create table "live_instance" ("id" uuid not null, "seen_at" timestamptz not null default now(),
        primary key ("id"));
      create table "connected_client" ("id" uuid not null, "tenant_id" text not null, "user_id" text not null,
        "instance_id" uuid not null, "transport" text not null, "connected_at" timestamptz not null,
        primary key ("id"));
      create index "connected_client_newest" on "connected_client" ("tenant_id", "id");
      create index "connected_client_instance" on "connected_client" ("instance_id");

      create table "token_revocation" ("id" uuid not null, "tenant_id" text not null, "user_id" text null,
        "token_id" text null, "revoked_at" timestamptz not null, "forget_at" timestamptz not null,
        primary key ("id"));
      create index "token_revocation_forget" on "token_revocation" ("forget_at");
    `);
    for (const table of ['connected_client', 'token_revocation']) {
      this.addSql(enableTenantIsolation(table));
    }
    this.addSql(`
      grant select on "connected_client", "live_instance" to "notif_api";
      grant select, insert, update, delete on "live_instance" to "notif_worker";
      grant select, insert, delete on "connected_client", "token_revocation" to "notif_worker";
    `);
  }

  override down(): void {
    this.addSql(`
      drop table "token_revocation", "connected_client", "live_instance";
      drop index "notification_unread";
    `);
  }
}
