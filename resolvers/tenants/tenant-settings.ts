import { Arg, Ctx, Field, InputType, Mutation, ObjectType, Query, Resolver } from 'type-graphql';

import type { Core } from '../../src/core.ts';
import type { DeliveryMode as Mode } from '../../src/delivery/mode.ts';
import { roundNumbers } from '../../src/exact-json.ts';
import { validationFailed } from '../../src/errors.ts';
import type { SettingsChanges, TenantSettings as Settings } from '../../src/tenants/settings.ts';
import { type GraphContext, signedIn } from '../server/context.ts';
import { DeliveryMode } from '../server/enums.ts';
import { Costs, Requires } from '../server/requires.ts';
import { JSONObject } from '../server/scalars.ts';

@ObjectType({ description: 'Settings of the tenant. A setting that has not been changed has its default value.' })
export class TenantSettings {
  @Field(() => String, {
    description: 'Language of users without a known language, as a BCP 47 tag, for example `vi-VN`.',
  })
  defaultLocale!: string;

  @Field(() => String, {
    description: 'Time zone of users without a known time zone, as an IANA name, for example `Asia/Ho_Chi_Minh`.',
  })
  timeZone!: string;

  @Field(() => DeliveryMode, {
    nullable: true,
    description: 'Delivery mode of the tenant; null when the mode of the process applies.',
  })
  deliveryMode!: Mode | null;

  @Field(() => JSONObject, {
    description: 'Settings of each event, by event code: `channels` in order of preference, and `category`.',
  })
  events!: Record<string, unknown>;

  @Field(() => JSONObject, {
    description:
      'Categories, by key: `name`, `description`, `isMandatory`, `defaultEnabled`, and the `channels` that users can opt in or out of.',
  })
  categories!: Record<string, unknown>;

  @Field(() => JSONObject, {
    description: 'Retry settings: `maxAttempts`, `baseDelayMs`, `maxDelayMs`, `deadlineMs` and `maxUnknown`.',
  })
  retry!: Record<string, unknown>;

  @Field(() => JSONObject, { description: 'Sending limits: `concurrency`, `ratePerSecond` and `burst`.' })
  limits!: Record<string, unknown>;

  @Field(() => JSONObject, {
    nullable: true,
    description: 'Quiet hours: `from`, `to`, `timeZone` and `channels`; null when there are none.',
  })
  quietHours!: Record<string, unknown> | null;

  @Field(() => JSONObject, {
    description: 'Privacy settings: `recipients`, `params`, `anonymiseAfterDays` and `retentionDays`.',
  })
  privacy!: Record<string, unknown>;

  @Field(() => JSONObject, { description: 'Origin of each setting: `database`, `file`, `environment` or `default`.' })
  sources!: Record<string, unknown>;
}

@InputType({
  description: "Changes of the tenant's settings. Absent fields keep their value; null restores the default.",
})
export class UpdateTenantSettingsInput {
  @Field(() => String, {
    nullable: true,
    description: 'Language of users without a known language, as a BCP 47 tag, for example `vi-VN`.',
  })
  defaultLocale?: string | null;

  @Field(() => String, {
    nullable: true,
    description: 'Time zone of users without a known time zone, as an IANA name, for example `Asia/Ho_Chi_Minh`.',
  })
  timeZone?: string | null;

  @Field(() => JSONObject, {
    nullable: true,
    description: 'Settings of each event, by event code: `channels` in order of preference, and `category`.',
  })
  events?: Record<string, unknown> | null;

  @Field(() => JSONObject, {
    nullable: true,
    description: 'Categories, by key: `name`, `description`, `isMandatory`, `defaultEnabled` and `channels`.',
  })
  categories?: Record<string, unknown> | null;

  @Field(() => JSONObject, {
    nullable: true,
    description: 'Retry settings: `maxAttempts`, `baseDelayMs`, `maxDelayMs`, `deadlineMs` and `maxUnknown`.',
  })
  retry?: Record<string, unknown> | null;

  @Field(() => JSONObject, {
    nullable: true,
    description: 'Sending limits: `concurrency`, `ratePerSecond` and `burst`.',
  })
  limits?: Record<string, unknown> | null;

  @Field(() => JSONObject, {
    nullable: true,
    description:
      'Quiet hours: `from`, `to`, `timeZone` and `channels`. Null disables quiet hours, even when the operator has set them.',
  })
  quietHours?: Record<string, unknown> | null;

  @Field(() => JSONObject, {
    nullable: true,
    description: 'Privacy settings: `recipients`, `params`, `anonymiseAfterDays` and `retentionDays`.',
  })
  privacy?: Record<string, unknown> | null;
}

@Resolver(() => TenantSettings)
export class TenantSettingsResolver {
  readonly #core: Core;

  constructor(core: Core) {
    this.#core = core;
  }

  @Requires('notif.write.config')
  @Query(() => TenantSettings, { description: 'Returns the settings of the tenant.' })
  async tenantSettings(@Ctx() context: GraphContext): Promise<TenantSettings> {
    const { tenantId } = signedIn(context);
    const settings = (await this.#core.settings.load([tenantId])).get(tenantId);
    if (!settings) throw new Error('settings of a tenant were not loaded');
    return toSettings(settings);
  }

  @Requires('notif.write.config')
  @Costs(10)
  @Mutation(() => TenantSettings, {
    description: 'Changes the settings of the tenant. All processes apply them immediately.',
  })
  async updateTenantSettings(
    @Arg('input', () => UpdateTenantSettingsInput, { description: 'Settings to change.' })
    input: UpdateTenantSettingsInput,
    @Ctx() context: GraphContext,
  ): Promise<TenantSettings> {
    const { tenantId, userId } = signedIn(context);
    const changes = Object.fromEntries(
      Object.entries(roundNumbers({ ...input })).filter(([, value]) => value !== undefined),
    );
    if (Object.keys(changes).length === 0)
      throw validationFailed([{ path: 'input', message: 'must contain at least one setting' }]);
    await this.#core.settings.save(tenantId, changes as SettingsChanges, { userId, traceId: context.traceId });
    return this.tenantSettings(context);
  }
}

const toSettings = ({ channels: _channels, quietHours, ...settings }: Settings): TenantSettings => ({
  ...settings,
  events: { ...settings.events },
  categories: { ...settings.categories },
  retry: { ...settings.retry },
  limits: { ...settings.limits },
  quietHours: quietHours && { ...quietHours },
  privacy: { ...settings.privacy },
});
