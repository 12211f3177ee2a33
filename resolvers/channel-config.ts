import { Arg, Ctx, Field, Float, InputType, Int, Mutation, ObjectType, Query, Resolver } from 'type-graphql';

import type { Core } from '../src/core.ts';
import type { Channel } from '../src/intake/channel.ts';
import type { ProviderSettings } from '../src/tenants/settings.ts';
import { type GraphContext, signedIn } from './context.ts';
import { CircuitState, ConfigOrigin, NotificationChannel } from './enums.ts';
import { Costs, Requires, Sized } from './requires.ts';
import { DateTime, JSONObject } from './scalars.ts';

@ObjectType({ description: 'Where a setting comes from.' })
export class ConfigSource {
  @Field(() => String, { description: 'Which setting, e.g. `dkim.domainName`.' })
  path!: string;

  @Field(() => ConfigOrigin, { description: 'Who decided it.' })
  origin!: ProviderSettings['origin'];
}

@ObjectType({ description: 'Whether messages go to a provider, or wait until it has recovered.' })
export class Circuit {
  @Field(() => CircuitState, { description: 'Its state.' })
  state!: string;

  @Field(() => DateTime, { nullable: true, description: 'While it is open: when the provider is tried again.' })
  retryAt!: Date | null;

  @Field(() => DateTime, { nullable: true, description: 'When it last changed; null where it never failed.' })
  changedAt!: Date | null;
}

@ObjectType({ description: 'A provider that the tenant sends through.' })
export class ChannelConfig {
  @Field(() => NotificationChannel, { description: 'For which channel.' })
  channel!: Channel;

  @Field(() => String, { description: 'Which provider, e.g. `smtp`.' })
  provider!: string;

  @Field(() => String, { description: 'What attempts and circuits call it; unique in its channel.' })
  name!: string;

  @Field(() => Int, { description: 'Its turn: 0 is first, and the next takes over where it fails.' })
  position!: number;

  @Field(() => ConfigOrigin, { description: 'Who decided.' })
  origin!: ProviderSettings['origin'];

  @Field(() => JSONObject, {
    description: 'Its settings. Of a secret it says that it is there: `***`, or its name where an operator keeps it.',
  })
  config!: Record<string, unknown>;

  @Sized(10)
  @Field(() => [ConfigSource], { description: 'Who decided each setting.' })
  sources!: ConfigSource[];

  @Field(() => Boolean, { description: 'Whether it is used.' })
  isEnabled!: boolean;

  @Field(() => Int, { nullable: true, description: 'Messages in hand at once, in each process.' })
  concurrency!: number | null;

  @Field(() => Float, { nullable: true, description: 'Messages a second, over all processes.' })
  ratePerSecond!: number | null;

  @Field(() => Circuit, { description: 'Whether it is in use now, as a dispatcher last found.' })
  circuit!: Circuit;
}

@ObjectType({ description: 'A provider that a tenant may send through.' })
export class ChannelProvider {
  @Field(() => NotificationChannel, { description: 'For which channel.' })
  channel!: Channel;

  @Field(() => String, { description: 'What it is called, e.g. `smtp`.' })
  provider!: string;

  @Field(() => JSONObject, { description: 'JSON Schema of its settings; what is `writeOnly` is a secret.' })
  configSchema!: Record<string, unknown>;
}

@InputType({ description: 'How the tenant sends through one provider.' })
export class UpdateChannelConfigInput {
  @Field(() => NotificationChannel, { description: 'For which channel.' })
  channel!: Channel;

  @Field(() => String, { description: 'Which provider, e.g. `smtp`: see `channelProviders`.' })
  provider!: string;

  @Field(() => String, { defaultValue: '', description: 'Tells several of one provider apart.' })
  name!: string;

  @Field(() => JSONObject, {
    description:
      'Its settings, all of them, as its schema has them. A secret that is left out stays as it is; it may be named as `secret://name`.',
  })
  config!: Record<string, unknown>;

  @Field(() => Int, { defaultValue: 0, description: 'Its turn: the smallest is first; 0 to 100.' })
  position!: number;

  @Field(() => Boolean, { defaultValue: true, description: 'Whether it is used.' })
  isEnabled!: boolean;

  @Field(() => Int, { nullable: true, description: 'Messages in hand at once, in each process; 1 to 10 000.' })
  concurrency?: number | null;

  @Field(() => Float, { nullable: true, description: 'Messages a second, over all processes; more than 0.' })
  ratePerSecond?: number | null;
}

@Resolver()
export class ChannelConfigResolver {
  readonly #core: Core;

  constructor(core: Core) {
    this.#core = core;
  }

  @Requires('notif.write.config')
  @Sized(20)
  @Query(() => [ChannelConfig], { description: 'The providers of the tenant, by channel and in failover order.' })
  async channelConfigs(@Ctx() context: GraphContext): Promise<ChannelConfig[]> {
    const { tenantId } = signedIn(context);
    const [settings, circuits] = await Promise.all([
      this.#core.settings.load([tenantId]),
      this.#core.delivery.circuits(tenantId),
    ]);
    const channels = Object.entries(settings.get(tenantId)?.channels ?? {}) as [Channel, ProviderSettings[]][];
    return channels.flatMap(([channel, providers]) =>
      providers.map(({ provider, name, origin, limits, config }, position) => {
        const circuit = circuits.find((found) => found.channel === channel && found.provider === name);
        const shown = this.#core.channelConfigs.shown(channel, provider, config);
        return {
          channel,
          provider,
          name,
          position,
          origin,
          config: shown,
          sources: pathsOf(shown).map((path) => ({ path, origin })),
          isEnabled: true,
          concurrency: limits?.concurrency ?? null,
          ratePerSecond: limits?.ratePerSecond ?? null,
          circuit: circuit ?? { state: 'closed', retryAt: null, changedAt: null },
        };
      }),
    );
  }

  @Requires('notif.write.config')
  @Sized(20)
  @Query(() => [ChannelProvider], { description: 'What there is to send through, and what it needs to be told.' })
  channelProviders(): ChannelProvider[] {
    return this.#core.channelConfigs.providers.map(({ channel, name, configSchema }) => ({
      channel,
      provider: name,
      configSchema,
    }));
  }

  @Requires('notif.write.config')
  @Costs(10)
  @Mutation(() => ChannelConfig, {
    description: 'Sets how the tenant sends through one provider. In force in every process at once.',
  })
  async updateChannelConfig(
    @Arg('input', () => UpdateChannelConfigInput, { description: 'The provider and its settings.' })
    { concurrency, ratePerSecond, ...change }: UpdateChannelConfigInput,
    @Ctx() context: GraphContext,
  ): Promise<ChannelConfig> {
    const limits = {
      ...(typeof concurrency === 'number' && { concurrency }),
      ...(typeof ratePerSecond === 'number' && { ratePerSecond }),
    };
    const saved = await this.#core.channelConfigs.save(
      signedIn(context),
      { ...change, limits: Object.keys(limits).length > 0 ? limits : null },
      context.traceId,
    );
    return {
      ...saved,
      name: saved.name || saved.provider,
      origin: 'database',
      sources: pathsOf(saved.config).map((path) => ({ path, origin: 'database' })),
      concurrency: saved.limits?.concurrency ?? null,
      ratePerSecond: saved.limits?.ratePerSecond ?? null,
      circuit: { state: 'closed', retryAt: null, changedAt: null },
    };
  }
}

/** Every setting that is there, by its path. */
function pathsOf(config: Record<string, unknown>, prefix = ''): string[] {
  return Object.entries(config).flatMap(([key, value]) =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? pathsOf(value as Record<string, unknown>, `${prefix}${key}.`)
      : [`${prefix}${key}`],
  );
}
