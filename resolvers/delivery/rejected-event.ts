import { Arg, Args, Ctx, Field, ID, Int, Mutation, ObjectType, Query, Resolver } from 'type-graphql';

import type { Core } from '../../src/core.ts';
import type { RejectedEvent as RejectedRow } from '../../src/intake/rejected-event.entity.ts';
import { idCursor } from '../../src/paging/page.ts';
import { connectionOf, Paged, PageArgs, toConnection } from '../server/connection.ts';
import { type GraphContext, signedIn } from '../server/context.ts';
import { Costs, Requires } from '../server/requires.ts';
import { DateTime, JSONObject } from '../server/scalars.ts';

/** Maximum length of the text of a rejected input in the API, in characters. The database stores the whole input. */
const MAX_SHOWN_CHARACTERS = 64 * 1024;

@ObjectType({ description: 'An incoming event that the service rejected, stored unchanged.' })
export class RejectedEvent {
  @Field(() => ID, { description: 'ID of the rejected event.' })
  id!: string;

  @Field(() => String, { nullable: true, description: 'Type of the event; null when the service could not read it.' })
  eventType!: string | null;

  @Field(() => String, { description: 'Stable code of the reason for the rejection.' })
  reason!: string;

  @Field(() => String, { description: 'Description of the error and its location in the input.' })
  message!: string;

  @Field(() => String, {
    nullable: true,
    description: 'Input as text, cut off after 65 536 characters; null when the input is not valid UTF-8.',
  })
  raw!: string | null;

  @Field(() => Int, { description: 'Size of the input, in bytes.' })
  size!: number;

  @Field(() => JSONObject, { description: 'Headers of the Kafka message or HTTP request.' })
  headers!: Record<string, string>;

  @Field(() => String, { description: 'Source of the input: `kafka` or `http`.' })
  source!: string;

  @Field(() => String, { nullable: true, description: 'Kafka topic; null when the input came over HTTP.' })
  topic!: string | null;

  @Field(() => Int, { nullable: true, description: 'Kafka partition; null when the input came over HTTP.' })
  partition!: number | null;

  @Field(() => String, {
    nullable: true,
    description: 'Kafka offset, as a decimal string; null when the input came over HTTP.',
  })
  offset!: string | null;

  @Field(() => DateTime, { description: 'When the service received the input.' })
  receivedAt!: Date;

  @Field(() => DateTime, {
    nullable: true,
    description: 'When the event was replayed successfully; null when it has not been.',
  })
  replayedAt!: Date | null;

  @Field(() => ID, {
    nullable: true,
    description: 'ID of the delivery record that the replay created; null when the event has not been replayed.',
  })
  replayedLogId!: string | null;
}

const utf8 = new TextDecoder('utf-8', { fatal: true });

function toRejectedEvent({ raw, tenantId: _tenantId, ...row }: RejectedRow): RejectedEvent {
  return { ...row, raw: textOf(raw), size: raw.length };
}

function textOf(raw: Buffer): string | null {
  try {
    return utf8.decode(raw).slice(0, MAX_SHOWN_CHARACTERS);
  } catch {
    return null;
  }
}

const RejectedEventConnection = connectionOf('RejectedEvent', RejectedEvent);

@Resolver()
export class RejectedEventResolver {
  readonly #core: Core;

  constructor(core: Core) {
    this.#core = core;
  }

  @Requires('notif.replay')
  @Paged()
  @Query(() => RejectedEventConnection, { description: 'Lists the rejected events of the tenant, newest first.' })
  async rejectedEvents(@Args(() => PageArgs) args: PageArgs, @Ctx() context: GraphContext) {
    const page = await this.#core.rejectedEvents.list(signedIn(context), args);
    return toConnection(page, idCursor, (row) => row.id, toRejectedEvent);
  }

  @Requires('notif.replay')
  @Costs(10)
  @Mutation(() => RejectedEvent, {
    description: 'Processes a rejected event again. Repeated calls do not send it twice.',
  })
  async replayRejectedEvent(
    @Arg('id', () => ID, { description: 'ID of the rejected event.' }) id: string,
    @Ctx() context: GraphContext,
  ): Promise<RejectedEvent> {
    return toRejectedEvent(await this.#core.rejectedEvents.replay(signedIn(context), id, context.traceId));
  }
}
