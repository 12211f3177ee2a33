import { Arg, Ctx, Field, ID, InputType, Int, Mutation, ObjectType, Query, Resolver } from 'type-graphql';

import type { Core } from '../../src/core.ts';
import type { Erasure as ErasureRow } from '../../src/privacy/erase.ts';
import { type GraphContext, signedIn } from '../server/context.ts';
import { Costs, Requires } from '../server/requires.ts';
import { DateTime } from '../server/scalars.ts';

@ObjectType({ description: 'A person who is being forgotten, or was. It does not say who.' })
export class Erasure implements ErasureRow {
  @Field(() => ID, { description: 'Its id.' })
  id!: string;

  @Field(() => DateTime, { description: 'When it was asked for.' })
  requestedAt!: Date;

  @Field(() => DateTime, { nullable: true, description: 'When it was done; null while it goes on.' })
  completedAt!: Date | null;

  @Field(() => Int, { description: 'How many notifications were removed from their inbox.' })
  notifications!: number;

  @Field(() => Int, { description: 'How many delivery records hold nothing of them any more.' })
  deliveryRecords!: number;

  @Field(() => Int, { description: 'How many preferences, captured messages and rejected events were removed.' })
  others!: number;
}

@InputType({ description: 'Whom to forget: by whatever they are known by, one of these at least.' })
export class ErasePersonInput {
  @Field(() => ID, { nullable: true, description: 'User id.' })
  userId?: string | null;

  @Field(() => String, { nullable: true, description: 'Email address.' })
  email?: string | null;

  @Field(() => String, { nullable: true, description: 'Phone number (E.164).' })
  phone?: string | null;

  @Field(() => String, { nullable: true, description: 'Device token.' })
  deviceToken?: string | null;

  @Field(() => String, { nullable: true, description: 'Address of their webhook.' })
  webhookUrl?: string | null;
}

@Resolver(() => Erasure)
export class ErasureResolver {
  readonly #core: Core;

  constructor(core: Core) {
    this.#core = core;
  }

  @Requires('notif.erase')
  @Query(() => Erasure, { nullable: true, description: 'How far the forgetting of a person has come.' })
  erasure(
    @Arg('id', () => ID, { description: 'Its id.' }) id: string,
    @Ctx() context: GraphContext,
  ): Promise<Erasure | null> {
    return this.#core.erasures.find(signedIn(context).tenantId, id);
  }

  @Requires('notif.erase')
  @Costs(100)
  @Mutation(() => Erasure, {
    description:
      'Has everything about a person forgotten, in the background: inbox, preferences, and whatever delivery records and rejected events hold of them. What waits for its delivery to them is not sent any more.',
  })
  erasePerson(
    @Arg('input', () => ErasePersonInput, { description: 'Whom.' }) input: ErasePersonInput,
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
