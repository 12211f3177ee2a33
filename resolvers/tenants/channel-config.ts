import { Arg, Ctx, Field, Float, InputType, Int, Mutation, ObjectType, Query, Resolver } from 'type-graphql';

import type { Core } from '../../src/core.ts';
import { roundNumbers } from '../../src/exact-json.ts';
import type { Channel } from '../../src/intake/channel.ts';
import type { ShownChannelConfig } from '../../src/tenants/channel-configs.ts';
import type { SettingOrigin } from '../../src/tenants/settings.ts';
import { type GraphContext, signedIn } from '../server/context.ts';
import { CircuitState, ConfigOrigin, NotificationChannel } from '../server/enums.ts';
import { Costs, Requires, Sized } from '../server/requires.ts';
import { DateTime, JSONObject } from '../server/scalars.ts';

@ObjectType({ description: 'Origin of one setting.' })
export class ConfigSource {
  @Field(() => String, { description: 'Path of the setting, for example `dkim.domainName`.' })
  path!: string;

  @Field(() => ConfigOrigin, { description: 'Origin of the setting.' })
  origin!: SettingOrigin;
}

@ObjectType({ description: 'Circuit breaker of a provider. It pauses sending after repeated failures.' })
export class Circuit {
  @Field(() => CircuitState, { description: 'State of the circuit breaker.' })
  state!: string;

  @Field(() => DateTime, {
    nullable: true,
    description: 'When the service tries the provider again; null unless the circuit is open.',
  })
  retryAt!: Date | null;

  @Field(() => DateTime, {
    nullable: true,
    description: 'When the state last changed; null when the provider has never failed.',
  })
  changedAt!: Date | null;
}

@ObjectType({ description: 'Configuration of a provider that the tenant sends through.' })
export class ChannelConfig {
  @Field(() => NotificationChannel, { description: 'Channel of the provider.' })
  channel!: Channel;

  @Field(() => String, { description: 'Type of the provider, for example `smtp`.' })
  provider!: string;

  @Field(() => String, {
    description: 'Name of the configuration, as it appears in delivery attempts. It is unique within its channel.',
  })
  name!: string;

  @Field(() => Int, {
    description: 'Position in the failover order of the channel. The service tries the smallest position first.',
  })
  position!: number;

  @Field(() => ConfigOrigin, { description: 'Origin of the configuration.' })
  origin!: SettingOrigin;

  @Field(() => JSONObject, {
    description: 'Settings of the provider. A secret is shown as `***`, or by its name when the operator stores it.',
  })
  config!: Record<string, unknown>;

  @Sized(10)
  @Field(() => [ConfigSource], { description: 'Origin of each setting.' })
  sources!: ConfigSource[];

  @Field(() => Boolean, { description: 'Whether the provider is used. Disabled providers are listed last.' })
  isEnabled!: boolean;

  @Field(() => Int, {
    nullable: true,
    description: 'Maximum number of messages in flight in each process; null when it is not set.',
  })
  concurrency!: number | null;

  @Field(() => Float, {
    nullable: true,
    description: 'Maximum number of messages per second, over all processes; null when it is not set.',
  })
  ratePerSecond!: number | null;

  @Field(() => Int, { nullable: true, description: 'Maximum number of messages in a burst; null when it is not set.' })
  burst!: number | null;

  @Field(() => Int, {
    nullable: true,
    description:
      'Version number, increased with every change, to pass as `expectedVersion`; null when the operator set the configuration.',
  })
  version!: number | null;

  @Field(() => Circuit, { description: 'Circuit breaker of the provider, as last reported.' })
  circuit!: Promise<Circuit>;
}

@ObjectType({ description: 'A type of provider that tenants can configure.' })
export class ChannelProvider {
  @Field(() => NotificationChannel, { description: 'Channel of the provider.' })
  channel!: Channel;

  @Field(() => String, { description: 'Type of the provider, for example `smtp`.' })
  provider!: string;

  @Field(() => JSONObject, {
    description: "JSON Schema of the provider's settings. Properties marked `writeOnly` are secrets.",
  })
  configSchema!: Record<string, unknown>;
}

@InputType({ description: 'Configuration to save for one provider.' })
export class UpdateChannelConfigInput {
  @Field(() => NotificationChannel, { description: 'Channel of the provider.' })
  channel!: Channel;

  @Field(() => String, {
    description: 'Type of the provider, for example `smtp`. The query `channelProviders` lists the types.',
  })
  provider!: string;

  @Field(() => String, {
    defaultValue: '',
    description: 'Name that distinguishes several configurations of the same provider.',
  })
  name!: string;

  @Field(() => JSONObject, {
    description:
      'All settings of the provider, as its `configSchema` describes them. An absent secret, or one sent back as `***`, keeps its value, and null removes it. `secret://name` refers to a secret that the operator stores.',
  })
  config!: Record<string, unknown>;

  @Field(() => Int, {
    defaultValue: 0,
    description:
      'Position in the failover order of the channel, 0 to 100. The service tries the smallest position first.',
  })
  position!: number;

  @Field(() => Boolean, { defaultValue: true, description: 'Whether the provider is used.' })
  isEnabled!: boolean;

  @Field(() => Int, {
    nullable: true,
    description: 'Maximum number of messages in flight in each process; 1 to 10 000.',
  })
  concurrency?: number | null;

  @Field(() => Float, {
    nullable: true,
    description: 'Maximum number of messages per second, over all processes; greater than 0.',
  })
  ratePerSecond?: number | null;

  @Field(() => Int, {
    nullable: true,
    description: 'Maximum number of messages in a burst; when absent, the number of messages per second.',
  })
  burst?: number | null;

  @Field(() => Int, {
    nullable: true,
    description:
      'Version that the client has read. The mutation fails with `conflict` when the current version differs. Use 0 when there is no configuration yet.',
  })
  expectedVersion?: number | null;
}

@InputType({ description: 'Configuration of the tenant to remove.' })
export class RemoveChannelConfigInput {
  @Field(() => NotificationChannel, { description: 'Channel of the provider.' })
  channel!: Channel;

  @Field(() => String, { description: 'Type of the provider, for example `smtp`.' })
  provider!: string;

  @Field(() => String, { defaultValue: '', description: 'Name of the configuration when the provider has several.' })
  name!: string;

  @Field(() => Int, {
    nullable: true,
    description:
      'Version that the client has read. The mutation fails with `conflict` when the current version differs.',
  })
  expectedVersion?: number | null;
}

/** Reads the circuit breakers of a tenant: on the first call only, so that a list of configurations needs one read. */
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
  @Query(() => [ChannelConfig], {
    description: 'Lists the provider configurations of the tenant, by channel and in failover order.',
  })
  async channelConfigs(@Ctx() context: GraphContext): Promise<ChannelConfig[]> {
    const { tenantId } = signedIn(context);
    const circuits = this.#circuitsOf(tenantId);
    return (await this.#core.channelConfigs.list(tenantId)).map((config) => toChannelConfig(config, circuits));
  }

  @Requires('notif.write.config')
  @Sized(20)
  @Query(() => [ChannelProvider], {
    description: 'Lists the types of providers that a tenant can configure, with their settings.',
  })
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
    description: "Creates or replaces the tenant's configuration of one provider. All processes apply it immediately.",
  })
  async updateChannelConfig(
    @Arg('input', () => UpdateChannelConfigInput, { description: 'Provider and its settings.' })
    { concurrency, ratePerSecond, burst, expectedVersion, ...change }: UpdateChannelConfigInput,
    @Ctx() context: GraphContext,
  ): Promise<ChannelConfig> {
    const given = Object.entries({ concurrency, ratePerSecond, burst }).filter(
      ([, value]) => typeof value === 'number',
    );
    const saved = await this.#core.channelConfigs.save(
      signedIn(context),
      { ...change, config: roundNumbers(change.config), limits: given.length > 0 ? Object.fromEntries(given) : null },
      { traceId: context.traceId, expectedVersion },
    );
    return toChannelConfig(saved, this.#circuitsOf(signedIn(context).tenantId));
  }

  @Requires('notif.write.config')
  @Costs(10)
  @Mutation(() => Boolean, {
    description:
      "Removes the tenant's configuration of one provider, including its secrets. When the channel has no other configuration, the operator's configuration applies again.",
  })
  async removeChannelConfig(
    @Arg('input', () => RemoveChannelConfigInput, { description: 'Configuration to remove.' })
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

/** Returns the path of each setting, for example `dkim.domainName`. */
function pathsOf(config: Record<string, unknown>, prefix = ''): string[] {
  return Object.entries(config).flatMap(([key, value]) =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? pathsOf(value as Record<string, unknown>, `${prefix}${key}.`)
      : [`${prefix}${key}`],
  );
}
