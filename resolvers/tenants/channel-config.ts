import { Arg, Ctx, Field, Float, InputType, Int, Mutation, ObjectType, Query, Resolver } from 'type-graphql';

import type { Core } from '../../src/core.ts';
import type { Channel } from '../../src/intake/channel.ts';
import type { ShownChannelConfig } from '../../src/tenants/channel-configs.ts';
import type { SettingOrigin } from '../../src/tenants/settings.ts';
import { type GraphContext, signedIn } from '../server/context.ts';
import { CircuitState, ConfigOrigin, NotificationChannel } from '../server/enums.ts';
import { Costs, Requires, Sized } from '../server/requires.ts';
import { DateTime, JSONObject } from '../server/scalars.ts';

@ObjectType({ description: 'Where a setting comes from.' })
export class ConfigSource {
  @Field(() => String, { description: 'Which setting, e.g. `dkim.domainName`.' })
  path!: string;

  @Field(() => ConfigOrigin, { description: 'Who decided it.' })
  origin!: SettingOrigin;
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

  @Field(() => Int, { description: 'Its turn: the smallest is first, and the next takes over where it fails.' })
  position!: number;

  @Field(() => ConfigOrigin, { description: 'Who decided.' })
  origin!: SettingOrigin;

  @Field(() => JSONObject, {
    description: 'Its settings. Of a secret it says that it is there: `***`, or its name where an operator keeps it.',
  })
  config!: Record<string, unknown>;

  @Sized(10)
  @Field(() => [ConfigSource], { description: 'Who decided each setting.' })
  sources!: ConfigSource[];

  @Field(() => Boolean, { description: 'Whether it is used. One that is not comes after those that are.' })
  isEnabled!: boolean;

  @Field(() => Int, { nullable: true, description: 'Messages in hand at once, in each process.' })
  concurrency!: number | null;

  @Field(() => Float, { nullable: true, description: 'Messages a second, over all processes.' })
  ratePerSecond!: number | null;

  @Field(() => Int, { nullable: true, description: 'Messages that may go at once after a quiet time.' })
  burst!: number | null;

  @Field(() => Int, {
    nullable: true,
    description: 'Counted on with every change, for `expectedVersion`; null where an operator decided.',
  })
  version!: number | null;

  @Field(() => Circuit, { description: 'Whether it is in use now, as a dispatcher last found.' })
  circuit!: Promise<Circuit>;
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
      'Its settings, all of them, as its schema has them. A secret that is left out stays as it is, and null takes it away; it may be named as `secret://name`.',
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

  @Field(() => Int, {
    nullable: true,
    description: 'Messages that may go at once after a quiet time; absent: what a second takes.',
  })
  burst?: number | null;

  @Field(() => Int, {
    nullable: true,
    description: 'The version that was read: answered `conflict` where it is another by now. 0: there is none yet.',
  })
  expectedVersion?: number | null;
}

@InputType({ description: 'Which of the configurations that the tenant has of its own.' })
export class RemoveChannelConfigInput {
  @Field(() => NotificationChannel, { description: 'For which channel.' })
  channel!: Channel;

  @Field(() => String, { description: 'Which provider, e.g. `smtp`.' })
  provider!: string;

  @Field(() => String, { defaultValue: '', description: 'Which of several of one provider.' })
  name!: string;

  @Field(() => Int, {
    nullable: true,
    description: 'The version that was read: answered `conflict` where it is another by now.',
  })
  expectedVersion?: number | null;
}

/** Reads the circuits of a tenant where somebody asks for one, and then once for all of them. */
type ReadCircuits = () => ReturnType<Core['delivery']['circuits']>;

const NEVER_FAILED: Circuit = { state: 'closed', retryAt: null, changedAt: null };

@Resolver()
export class ChannelConfigResolver {
  readonly #core: Core;

  constructor(core: Core) {
    this.#core = core;
  }

  #circuitsOf(tenantId: string): ReadCircuits {
    let read: ReturnType<ReadCircuits> | undefined;
    return () => (read ??= this.#core.delivery.circuits(tenantId));
  }

  @Requires('notif.write.config')
  @Sized(20)
  @Query(() => [ChannelConfig], { description: 'The providers of the tenant, by channel and in failover order.' })
  async channelConfigs(@Ctx() context: GraphContext): Promise<ChannelConfig[]> {
    const { tenantId } = signedIn(context);
    const circuits = this.#circuitsOf(tenantId);
    return (await this.#core.channelConfigs.list(tenantId)).map((config) => toChannelConfig(config, circuits));
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
    { concurrency, ratePerSecond, burst, expectedVersion, ...change }: UpdateChannelConfigInput,
    @Ctx() context: GraphContext,
  ): Promise<ChannelConfig> {
    const given = Object.entries({ concurrency, ratePerSecond, burst }).filter(
      ([, value]) => typeof value === 'number',
    );
    const saved = await this.#core.channelConfigs.save(
      signedIn(context),
      { ...change, limits: given.length > 0 ? Object.fromEntries(given) : null },
      { traceId: context.traceId, expectedVersion },
    );
    return toChannelConfig(saved, this.#circuitsOf(signedIn(context).tenantId));
  }

  @Requires('notif.write.config')
  @Costs(10)
  @Mutation(() => Boolean, {
    description:
      'Removes how the tenant sends through one provider, secrets and all. Where the channel has no other, what an operator has set up is in force again.',
  })
  async removeChannelConfig(
    @Arg('input', () => RemoveChannelConfigInput, { description: 'Which provider.' })
    { expectedVersion, ...key }: RemoveChannelConfigInput,
    @Ctx() context: GraphContext,
  ): Promise<boolean> {
    await this.#core.channelConfigs.remove(signedIn(context), key, { traceId: context.traceId, expectedVersion });
    return true;
  }
}

const toChannelConfig = ({ limits, ...config }: ShownChannelConfig, circuits: ReadCircuits): ChannelConfig => ({
  ...config,
  sources: pathsOf(config.config).map((path) => ({ path, origin: config.origin })),
  concurrency: limits?.concurrency ?? null,
  ratePerSecond: limits?.ratePerSecond ?? null,
  burst: limits?.burst ?? null,
  get circuit() {
    return circuits().then(
      (all) =>
        all.find(({ channel, provider }) => channel === config.channel && provider === config.name) ?? NEVER_FAILED,
    );
  },
});

/** Every setting that is there, by its path. */
function pathsOf(config: Record<string, unknown>, prefix = ''): string[] {
  return Object.entries(config).flatMap(([key, value]) =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? pathsOf(value as Record<string, unknown>, `${prefix}${key}.`)
      : [`${prefix}${key}`],
  );
}
