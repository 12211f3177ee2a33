import { Arg, Ctx, Field, InputType, Mutation, ObjectType, Query, Resolver } from 'type-graphql';

import type { Core } from '../../src/core.ts';
import type { DeliveryMode as Mode } from '../../src/delivery/mode.ts';
import { validationFailed } from '../../src/errors.ts';
import type { SettingsChanges, TenantSettings as Settings } from '../../src/tenants/settings.ts';
import { type GraphContext, signedIn } from '../server/context.ts';
import { DeliveryMode } from '../server/enums.ts';
import { Costs, Requires } from '../server/requires.ts';
import { JSONObject } from '../server/scalars.ts';

@ObjectType({ description: 'What holds for the tenant as a whole, with everything that is not set at its default.' })
export class TenantSettings {
  @Field(() => String, { description: 'Language of people whose own is not known (BCP 47).' })
  defaultLocale!: string;

  @Field(() => String, { description: 'Time zone of people whose own is not known (IANA).' })
  timeZone!: string;

  @Field(() => DeliveryMode, { nullable: true, description: 'Null: the process decides.' })
  deliveryMode!: Mode | null;

  @Field(() => JSONObject, { description: 'By event code: `channels` in order, and `category`.' })
  events!: Record<string, unknown>;

  @Field(() => JSONObject, {
    description:
      'By name: `name`, `description`, `isMandatory`, `defaultEnabled`, `channels` that people decide about.',
  })
  categories!: Record<string, unknown>;

  @Field(() => JSONObject, { description: '`maxAttempts`, `baseDelayMs`, `maxDelayMs`, `deadlineMs`.' })
  retry!: Record<string, unknown>;

  @Field(() => JSONObject, { description: '`concurrency`, `ratePerSecond`, `burst`.' })
  limits!: Record<string, unknown>;

  @Field(() => JSONObject, { nullable: true, description: '`from`, `to`, `timeZone`, `channels`; null: none.' })
  quietHours!: Record<string, unknown> | null;

  @Field(() => JSONObject, { description: '`recipients`, `params`, `anonymiseAfterDays`, `retentionDays`.' })
  privacy!: Record<string, unknown>;

  @Field(() => JSONObject, { description: 'Of each setting: `database`, `file`, `environment` or `default`.' })
  sources!: Record<string, unknown>;
}

@InputType({
  description: 'What changes for the tenant as a whole. What is absent stays; null goes back to the default.',
})
export class UpdateTenantSettingsInput {
  @Field(() => String, { nullable: true, description: 'Language (BCP 47).' })
  defaultLocale?: string | null;

  @Field(() => String, { nullable: true, description: 'Time zone (IANA).' })
  timeZone?: string | null;

  @Field(() => JSONObject, { nullable: true, description: 'By event code: `channels` in order, and `category`.' })
  events?: Record<string, unknown> | null;

  @Field(() => JSONObject, {
    nullable: true,
    description: 'By name: `name`, `description`, `isMandatory`, `defaultEnabled`, `channels`.',
  })
  categories?: Record<string, unknown> | null;

  @Field(() => JSONObject, { nullable: true, description: '`maxAttempts`, `baseDelayMs`, `maxDelayMs`, `deadlineMs`.' })
  retry?: Record<string, unknown> | null;

  @Field(() => JSONObject, { nullable: true, description: '`concurrency`, `ratePerSecond`, `burst`.' })
  limits?: Record<string, unknown> | null;

  @Field(() => JSONObject, {
    nullable: true,
    description: '`from`, `to`, `timeZone`, `channels`. Null is a decision too: none, whatever an operator has set up.',
  })
  quietHours?: Record<string, unknown> | null;

  @Field(() => JSONObject, {
    nullable: true,
    description: '`recipients`, `params`, `anonymiseAfterDays`, `retentionDays`.',
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
  @Query(() => TenantSettings, { description: 'What holds for the tenant as a whole.' })
  async tenantSettings(@Ctx() context: GraphContext): Promise<TenantSettings> {
    const { tenantId } = signedIn(context);
    const settings = (await this.#core.settings.load([tenantId])).get(tenantId);
    if (!settings) throw new Error('settings of a tenant were not loaded');
    return toSettings(settings);
  }

  @Requires('notif.write.config')
  @Costs(10)
  @Mutation(() => TenantSettings, {
    description: 'Changes what holds for the tenant as a whole, in every process at once.',
  })
  async updateTenantSettings(
    @Arg('input', () => UpdateTenantSettingsInput, { description: 'What changes.' }) input: UpdateTenantSettingsInput,
    @Ctx() context: GraphContext,
  ): Promise<TenantSettings> {
    const { tenantId, userId } = signedIn(context);
    const changes = Object.fromEntries(Object.entries(input).filter(([, value]) => value !== undefined));
    if (Object.keys(changes).length === 0) throw validationFailed([{ path: 'input', message: 'changes nothing' }]);
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
