import { Migration } from '@mikro-orm/migrations';

import { enableTenantIsolation } from './row-level-security.ts';

const NIL = '00000000-0000-0000-0000-000000000000';
const KEY = `"tenant_id", "level", "starts_at", "event_code", "channel", "status", "template_id", "bucket"`;
const LATENCY_MS = `(extract(epoch from sent_at - greatest(created_at, scheduled_at))::float8 * 1000)`;

/** Adds the rollups of the delivery statistics, and fills them from the existing records. */
export class DeliveryStatistics extends Migration {
  override up(): void {
    this.addSql(`
      create table "delivery_statistic_delta" ("tenant_id" text not null, "hour" timestamptz not null,
        "id" uuid not null default gen_random_uuid(), "event_code" text not null, "channel" text not null,
        "status" text not null, "template_id" uuid not null, "bucket" smallint not null, "count" int not null,
        primary key ("tenant_id", "hour", "id"));
      -- Each row lives for seconds only.
      alter table "delivery_statistic_delta"
        set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

      create table "delivery_statistic" ("tenant_id" text not null, "level" text not null,
        "starts_at" timestamptz not null, "event_code" text not null, "channel" text not null, "status" text not null,
        "template_id" uuid not null, "bucket" smallint not null, "count" int not null, primary key (${KEY}));
      alter table "delivery_statistic" add constraint "delivery_statistic_level"
        check (level in ('hour', 'day', 'hour_channel', 'day_channel', 'hour_total', 'day_total'));
      create index "delivery_statistic_age" on "delivery_statistic" ("starts_at");
      -- The fill factor leaves space for in-place updates of the current hour and day.
      alter table "delivery_statistic" set (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);

      ${enableTenantIsolation('delivery_statistic_delta')}
      ${enableTenantIsolation('delivery_statistic')}
      grant select, insert on "delivery_statistic_delta" to "notif_api";
      grant select, insert, delete on "delivery_statistic_delta" to "notif_worker";
      grant select on "delivery_statistic" to "notif_api";
      grant select, insert, update, delete on "delivery_statistic" to "notif_worker";
    `);
    // The worker sees the rows of all tenants. To let the owner see them would lock the log until the end.
    this.addSql(`set local role "notif_worker"`);
    this.addSql(`
      insert into "delivery_statistic" (${KEY}, "count")
      select tenant_id, level, starts_at, detail.event_code, detail.channel, status, detail.template_id, bucket,
        sum(count)::int
      from (
        select tenant_id, date_trunc('hour', created_at, 'UTC') as hour, event_code, coalesce(channel, '') as channel,
          status, coalesce(template_id, '${NIL}') as template_id,
          (case when sent_at is null then -1 when ${LATENCY_MS} < 1 then 0
            else least(floor(ln(${LATENCY_MS}) / ln(1.2::float8)) + 1, 150) end)::smallint as bucket,
          count(*) as count
        from "notification_log"
        where status not in ('queued', 'sending', 'retrying') and not is_test
        group by 1, 2, 3, 4, 5, 6, 7
      ) as counted cross join lateral (values
        ('hour', hour, event_code, channel, template_id),
        ('day', date_trunc('day', hour, 'UTC'), event_code, channel, template_id),
        ('hour_channel', hour, '', channel, '${NIL}'),
        ('day_channel', date_trunc('day', hour, 'UTC'), '', channel, '${NIL}'),
        ('hour_total', hour, '', '', '${NIL}'),
        ('day_total', date_trunc('day', hour, 'UTC'), '', '', '${NIL}')
      ) as detail (level, starts_at, event_code, channel, template_id)
      group by 1, 2, 3, 4, 5, 6, 7, 8
      order by level, tenant_id, starts_at
    `);
    this.addSql(`set local role "notif_owner"`);
  }

  override down(): void {
    this.addSql(`drop table "delivery_statistic_delta", "delivery_statistic"`);
  }
}
