import { Migration } from '@mikro-orm/migrations';

import { enableTenantIsolation } from './row-level-security.ts';

const TABLES = [
  'audit_event',
  'channel_config',
  'delivery_attempt',
  'inbox',
  'notification',
  'notification_log',
  'notification_template',
  'notification_template_version',
  'policy_definition',
  'rejected_event',
  'sandbox_message',
  'tenant_settings',
];

/** Privileges of each role by table. A role has no access to a table that is not listed. */
const GRANTS: Record<string, Record<string, string>> = {
  notif_api: {
    audit_event: 'select, insert',
    channel_config: 'select, insert, update, delete',
    delivery_attempt: 'select',
    inbox: 'select, update',
    notification: 'select, update',
    notification_log: 'select',
    notification_template: 'select, insert, update',
    notification_template_version: 'select, insert',
    policy_definition: 'select, insert, update, delete',
    rejected_event: 'select',
    sandbox_message: 'select',
    tenant_settings: 'select, insert, update',
  },
  notif_worker: {
    audit_event: 'insert',
    channel_config: 'select',
    delivery_attempt: 'select, insert, update',
    inbox: 'select, insert, update',
    notification: 'select, insert',
    notification_log: 'select, insert, update',
    notification_template: 'select',
    notification_template_version: 'select',
    policy_definition: 'select',
    rejected_event: 'select, insert',
    sandbox_message: 'select, insert',
    tenant_settings: 'select',
  },
};

/** Creates the first tables with row-level security and grants. */
export class Initial extends Migration {
  override up(): void {
    this.addSql(`
      create table "audit_event" ("id" uuid not null, "tenant_id" text not null, "action" text not null,
        "actor_id" text null, "trace_id" text not null, "details" jsonb not null,
        "timestamp" timestamptz not null default now(), primary key ("id"));
      create index "audit_event_newest" on "audit_event" ("tenant_id", "id");

      create table "channel_config" ("id" uuid not null, "tenant_id" text not null, "channel" text not null,
        "provider" text not null, "config" jsonb not null default '{}', "is_enabled" boolean not null default true,
        "updated_at" timestamptz not null default now(), "updated_by" text null, primary key ("id"));
      alter table "channel_config" add constraint "channel_config_key" unique ("tenant_id", "channel", "provider");

      create table "inbox" ("tenant_id" text not null, "user_id" text not null, "last_seq" bigint not null default '0',
        "unread_count" int not null default 0, primary key ("tenant_id", "user_id"));

      create table "notification" ("id" uuid not null, "tenant_id" text not null, "user_id" text not null,
        "created_seq" bigint not null, "seq" bigint not null, "log_id" uuid not null, "type" text not null,
        "category" text null, "title" text null, "body" text not null, "data" jsonb null, "action_url" text null,
        "recipient_scope" text not null, "actor_id" text null, "created_at" timestamptz not null default now(),
        "read_at" timestamptz null, "archived_at" timestamptz null, primary key ("id"));
      alter table "notification" add constraint "notification_position" unique ("tenant_id", "user_id", "created_seq");
      alter table "notification" add constraint "notification_change" unique ("tenant_id", "user_id", "seq");
      alter table "notification" add constraint "notification_once" unique ("log_id", "user_id");

      create table "notification_log" ("id" uuid not null, "tenant_id" text not null, "event_id" uuid not null,
        "event_type" text not null, "event_code" text not null, "is_test" boolean not null default false,
        "channels" text[] not null, "channel" text null, "recipient" jsonb not null, "audience" jsonb null,
        "content" jsonb null, "params" jsonb not null, "extra" jsonb null, "category" text null,
        "priority" smallint not null default 1, "collapse_key" text null, "expires_at" timestamptz null,
        "status" text not null, "attempts" int not null default 0, "due_at" timestamptz not null default now(),
        "lease_token" uuid null, "template_id" uuid null, "template_version" int null, "locale" text null,
        "error_code" text null, "error_message" text null, "trace_id" text not null, "traceparent" text null,
        "trigger_by" text null, "event_created_at" timestamptz not null,
        "created_at" timestamptz not null default now(), "updated_at" timestamptz not null default now(),
        "sent_at" timestamptz null, primary key ("id"));
      create index "notification_log_due" on "notification_log" ("priority", "due_at")
        where status in ('queued', 'sending', 'retrying');
      create index "notification_log_newest" on "notification_log" ("tenant_id", "id");
      alter table "notification_log" add constraint "notification_log_event" unique ("tenant_id", "event_id");
      alter table "notification_log" add constraint "notification_log_status" check (status in ('queued', 'sending',
        'retrying', 'sent', 'sent_fallback', 'failed', 'suppressed', 'expired'));
      alter table "notification_log" add constraint "notification_log_channel"
        check (channel in ('email', 'sms', 'push', 'in_app', 'webhook', 'zalo'));

      create table "delivery_attempt" ("log_id" uuid not null, "number" int not null, "tenant_id" text not null,
        "channel" text not null, "provider" text not null, "started_at" timestamptz not null default now(),
        "duration_ms" int null, "outcome" text null, "provider_message_id" text null, "error_code" text null,
        "error_message" text null, primary key ("log_id", "number"));
      alter table "delivery_attempt" add constraint "delivery_attempt_outcome"
        check (outcome in ('ok', 'transient', 'permanent', 'unknown'));
      alter table "delivery_attempt" add constraint "delivery_attempt_log_id_foreign"
        foreign key ("log_id") references "notification_log" ("id") on delete cascade;

      create table "notification_template" ("id" uuid not null, "tenant_id" text not null, "event_code" text not null,
        "channel" text not null, "locale" text not null, "is_active" boolean not null default true,
        "published_version" int null, "created_at" timestamptz not null default now(),
        "updated_at" timestamptz not null default now(), "updated_by" text null, primary key ("id"));
      alter table "notification_template" add constraint "notification_template_key"
        unique ("tenant_id", "event_code", "channel", "locale");

      create table "notification_template_version" ("template_id" uuid not null, "version" int not null,
        "tenant_id" text not null, "subject" text null, "body" text not null,
        "default_params" jsonb not null default '{}', "created_at" timestamptz not null default now(),
        "created_by" text null, primary key ("template_id", "version"));
      alter table "notification_template_version" add constraint "notification_template_version_template_id_foreign"
        foreign key ("template_id") references "notification_template" ("id") on delete cascade;

      create table "policy_definition" ("id" uuid not null, "tenant_id" text not null, "user_id" text not null,
        "role" text not null, "scope" text not null, "scope_id" text not null, primary key ("id"));
      alter table "policy_definition" add constraint "policy_definition_key"
        unique ("tenant_id", "scope", "scope_id", "user_id", "role");
      alter table "policy_definition" add constraint "policy_definition_scope"
        check (scope in ('merchant', 'organization'));

      create table "rejected_event" ("id" uuid not null, "tenant_id" text null, "event_type" text null,
        "reason" text not null, "message" text not null, "raw" bytea not null, "headers" jsonb not null,
        "source" text not null, "topic" text null, "partition" int null, "offset" bigint null,
        "received_at" timestamptz not null default now(), primary key ("id"));
      create index "rejected_event_newest" on "rejected_event" ("tenant_id", "id");
      alter table "rejected_event" add constraint "rejected_event_position" unique ("topic", "partition", "offset");

      create table "sandbox_message" ("id" uuid not null, "tenant_id" text not null, "log_id" uuid not null,
        "channel" text not null, "recipient" text not null, "sender" text null, "subject" text null, "text" text null,
        "html" text null, "headers" jsonb not null, "captured_at" timestamptz not null default now(),
        primary key ("id"));
      alter table "sandbox_message" add constraint "sandbox_message_once" unique ("log_id", "channel");

      create table "tenant_settings" ("tenant_id" text not null, "default_locale" text null,
        "updated_at" timestamptz not null default now(), "updated_by" text null, primary key ("tenant_id"));
    `);

    for (const table of TABLES) {
      this.addSql(enableTenantIsolation(table));
    }

    for (const [role, tables] of Object.entries(GRANTS)) {
      for (const [table, privileges] of Object.entries(tables)) {
        this.addSql(`grant ${privileges} on "${table}" to "${role}";`);
      }
    }
    // Allows a service that cannot migrate to check that the migrations have run.
    this.addSql(`grant select on "mikro_orm_migrations" to "notif_api";`);
  }

  override down(): void {
    this.addSql(`drop table ${TABLES.map((table) => `"${table}"`).join(', ')};`);
  }
}
