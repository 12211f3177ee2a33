import { defineEntity, type InferEntity, p } from '@mikro-orm/core';

import { tenantIsolation } from '../database/row-level-security.ts';
import type { Channel } from '../intake/channel.ts';
import type { Limits } from './policies.ts';

/** One provider that a tenant sends through. Secrets are encrypted, or are references such as `secret://name`. */
export const ChannelConfigEntity = defineEntity({
  name: 'ChannelConfigEntity',
  tableName: 'channel_config',
  properties: {
    id: p.uuid().primary(),
    tenantId: p.text(),
    channel: p.text().$type<Channel>(),
    provider: p.text(),
    /** Distinguishes several configurations of one provider; empty means the provider's own name. */
    name: p.text().default(''),
    config: p.json<Record<string, unknown>>().defaultRaw(`'{}'`),
    /** Position in the failover order of the channel; the lowest is tried first. */
    position: p.smallint().default(0),
    limits: p.json<Limits>().strictNullable(),
    isEnabled: p.boolean().default(true),
    /** Optimistic lock: each change increments it. */
    version: p.integer().version().default(1),
    updatedAt: p.datetime().columnType('timestamptz').defaultRaw('now()'),
    updatedBy: p.text().strictNullable(),
  },
  uniques: [{ name: 'channel_config_key', properties: ['tenantId', 'channel', 'provider', 'name'] }],
  ...tenantIsolation('channel_config'),
});

export type StoredChannelConfig = InferEntity<typeof ChannelConfigEntity>;
