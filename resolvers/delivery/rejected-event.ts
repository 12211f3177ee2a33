import { Arg, Args, Ctx, Field, ID, Int, Mutation, ObjectType, Query, Resolver } from 'type-graphql';

import type { Core } from '../../src/core.ts';
import type { RejectedEvent as RejectedRow } from '../../src/intake/rejected-events.ts';
import { idCursor } from '../../src/paging/page.ts';
import { connectionOf, Paged, PageArgs, toConnection } from '../server/connection.ts';
import { type GraphContext, signedIn } from '../server/context.ts';
import { Costs, Requires } from '../server/requires.ts';
import { DateTime, JSONObject } from '../server/scalars.ts';

/** Bytes of a rejected input that are shown; the whole of it is kept. */
const SHOWN_BYTES = 64 * 1024;

@ObjectType({ description: 'An input that could not become a notification, kept as it came.' })
export class RejectedEvent {
  @Field(() => ID, { description: 'Its id.' })
  id!: string;

  @Field(() => String, { nullable: true, description: 'The event type, as far as it could be told.' })
  eventType!: string | null;

  @Field(() => String, { description: 'Stable code of why.' })
  reason!: string;

  @Field(() => String, { description: 'What was wrong and where.' })
  message!: string;

  @Field(() => String, {
    nullable: true,
    description: 'The input as text, cut off after 64 KiB; null where it is none.',
  })
  raw!: string | null;

  @Field(() => Int, { description: 'Its size in bytes.' })
  size!: number;

  @Field(() => JSONObject, { description: 'Headers that came with it.' })
  headers!: Record<string, string>;

  @Field(() => String, { description: '`kafka` or `http`.' })
  source!: string;

  @Field(() => String, { nullable: true, description: 'Kafka topic.' })
  topic!: string | null;

  @Field(() => Int, { nullable: true, description: 'Kafka partition.' })
  partition!: number | null;

  @Field(() => String, { nullable: true, description: 'Kafka offset.' })
  offset!: string | null;

  @Field(() => DateTime, { description: 'When it came.' })
  receivedAt!: Date;

  @Field(() => DateTime, { nullable: true, description: 'When it was taken in after all.' })
  replayedAt!: Date | null;

  @Field(() => ID, { nullable: true, description: 'The delivery record that it became.' })
  replayedLogId!: string | null;
}

const utf8 = new TextDecoder('utf-8', { fatal: true });

function toRejectedEvent({ raw, tenantId: _tenantId, ...row }: RejectedRow): RejectedEvent {
  return { ...row, raw: textOf(raw), size: raw.length };
}

function textOf(raw: Buffer): string | null {
  try {
    return utf8.decode(raw).slice(0, SHOWN_BYTES);
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
  @Query(() => RejectedEventConnection, { description: 'Inputs that could not become notifications, newest first.' })
  async rejectedEvents(@Args(() => PageArgs) args: PageArgs, @Ctx() context: GraphContext) {
    const page = await this.#core.rejectedEvents.list(signedIn(context), args);
    return toConnection(page, idCursor, (row) => row.id, toRejectedEvent);
  }

  @Requires('notif.replay')
  @Costs(10)
  @Mutation(() => RejectedEvent, {
    description: 'Takes a rejected input in, if the service understands it by now. Doing it twice sends once.',
  })
  async replayRejectedEvent(
    @Arg('id', () => ID, { description: 'Its id.' }) id: string,
    @Ctx() context: GraphContext,
  ): Promise<RejectedEvent> {
    return toRejectedEvent(await this.#core.rejectedEvents.replay(signedIn(context), id, context.traceId));
  }
}
