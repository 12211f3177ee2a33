import { Arg, Ctx, Field, ID, InputType, Int, Mutation, ObjectType, Query, Resolver } from 'type-graphql';

import type { Core } from '../../src/core.ts';
import type { Erasure as ErasureRow } from '../../src/privacy/erase.ts';
import { type GraphContext, signedIn } from '../server/context.ts';
import { Costs, Requires } from '../server/requires.ts';
import { DateTime } from '../server/scalars.ts';

@ObjectType({ description: "Progress of erasing one person's data. It does not identify the person." })
export class Erasure implements ErasureRow {
  @Field(() => ID, { description: 'ID of the erasure.' })
  id!: string;

  @Field(() => DateTime, { description: 'When the erasure was requested.' })
  requestedAt!: Date;

  @Field(() => DateTime, { nullable: true, description: 'When the erasure finished; null while it is in progress.' })
  completedAt!: Date | null;

  @Field(() => Int, { description: "Number of notifications that were deleted from the person's inbox." })
  notifications!: number;

  @Field(() => Int, { description: "Number of delivery records from which the person's data was removed." })
  deliveryRecords!: number;

  @Field(() => Int, { description: 'Number of preferences, captured messages and rejected events that were deleted.' })
  others!: number;
}

@InputType({ description: 'Identifiers of the person to erase. At least one is required.' })
export class ErasePersonInput {
  @Field(() => ID, { nullable: true, description: 'ID of the user.' })
  userId?: string | null;

  @Field(() => String, { nullable: true, description: 'Email address of the person.' })
  email?: string | null;

  @Field(() => String, { nullable: true, description: 'Phone number in E.164 format, for example `+84901234567`.' })
  phone?: string | null;

  @Field(() => String, { nullable: true, description: "Push token of the person's device." })
  deviceToken?: string | null;

  @Field(() => String, { nullable: true, description: "URL of the person's webhook." })
  webhookUrl?: string | null;
}

@Resolver(() => Erasure)
export class ErasureResolver {
  readonly #core: Core;

  constructor(core: Core) {
    this.#core = core;
  }

  @Requires('notif.erase')
  @Query(() => Erasure, {
    nullable: true,
    description: 'Returns the progress of an erasure; null when the tenant has no erasure with this id.',
  })
  erasure(
    @Arg('id', () => ID, { description: 'ID of the erasure.' }) id: string,
    @Ctx() context: GraphContext,
  ): Promise<Erasure | null> {
    return this.#core.erasures.find(signedIn(context).tenantId, id);
  }

  @Requires('notif.erase')
  @Costs(100)
  @Mutation(() => Erasure, {
    description:
      "Erases one person's data in the background: inbox, preferences, and their data in delivery records and rejected events. Pending notifications to the person are not sent.",
  })
  erasePerson(
    @Arg('input', () => ErasePersonInput, { description: 'Person to erase.' }) input: ErasePersonInput,
    @Ctx() context: GraphContext,
  ): Promise<Erasure> {
    const subject = {
      userId: input.userId ?? undefined,
      email: input.email ?? undefined,
      phone: input.phone ?? undefined,
      device_token: input.deviceToken ?? undefined,
      webhook_url: input.webhookUrl ?? undefined,
    };
    return this.#core.erasures.request(signedIn(context), definedOnly(subject), context.traceId);
  }
}

const definedOnly = <T extends Record<string, string | undefined>>(values: T) =>
  Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as {
    [Key in keyof T]?: Exclude<T[Key], undefined>;
  };
