import { defineEntity, p } from '@mikro-orm/core';

import { tenantIsolation } from '../database/row-level-security.ts';
import type { Limits } from './policies.ts';

/** How one tenant sends through one channel. Secrets stand here as `secret://name`, never in clear. */
export const ChannelConfigEntity = defineEntity({
  name: 'ChannelConfigEntity',
  tableName: 'channel_config',
  properties: {
    id: p.uuid().primary(),
    tenantId: p.text(),
    channel: p.text(),
    provider: p.text(),
    /** Tells several of one provider apart; empty: the provider's own name. */
    name: p.text().default(''),
    config: p.json<Record<string, unknown>>().defaultRaw(`'{}'`),
    /** Order of failover among the providers of one channel, first to last. */
    position: p.smallint().default(0),
    limits: p.json<Limits>().nullable(),
    isEnabled: p.boolean().default(true),
    /** Counted on with every change. */
    version: p.integer().default(1),
    updatedAt: p.datetime().columnType('timestamptz').defaultRaw('now()'),
    updatedBy: p.text().nullable(),
  },
  uniques: [{ name: 'channel_config_key', properties: ['tenantId', 'channel', 'provider', 'name'] }],
  ...tenantIsolation('channel_config'),
});
