import { defineEntity, p } from '@mikro-orm/core';

import { tenantIsolation } from '../database/row-level-security.ts';
import type { Limits } from './policies.ts';

/** A tenant's configuration of one provider. Secrets are stored as `secret://name` or encrypted. */
export const ChannelConfigEntity = defineEntity({
  name: 'ChannelConfigEntity',
  tableName: 'channel_config',
  properties: {
    id: p.uuid().primary(),
    tenantId: p.text(),
    channel: p.text(),
    provider: p.text(),
    /** Distinguishes several configurations of one provider. Empty for the name of the provider. */
    name: p.text().default(''),
    config: p.json<Record<string, unknown>>().defaultRaw(`'{}'`),
    /** Failover order among the providers of one channel, ascending. */
    position: p.smallint().default(0),
    limits: p.json<Limits>().nullable(),
    isEnabled: p.boolean().default(true),
    /** Incremented by every change. */
    version: p.integer().default(1),
    updatedAt: p.datetime().columnType('timestamptz').defaultRaw('now()'),
    updatedBy: p.text().nullable(),
  },
  uniques: [{ name: 'channel_config_key', properties: ['tenantId', 'channel', 'provider', 'name'] }],
  ...tenantIsolation('channel_config'),
});
