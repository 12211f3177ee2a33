import { Args, ArgsType, Ctx, Field, Int, ObjectType, Resolver, Root, Subscription } from 'type-graphql';

import { validationFailed } from '../../src/errors.ts';
import { mapFeed } from '../../src/live/feed.ts';
import type { InboxChange as ChangeRow } from '../../src/live/inbox-feeds.ts';
import { SealError, sealPayload } from '../../src/live/seal.ts';
import { inboxCursor } from '../../src/paging/page.ts';
import { type GraphContext, signedIn } from '../server/context.ts';
import { InboxChangeKind } from '../server/enums.ts';
import { LiveSource } from '../subscriptions/source.ts';
import { AfterArgs, Notification, positionAfter, toNotification } from './notification.ts';
import { SignedIn } from '../server/requires.ts';

@ObjectType({
  description:
    'A notification of an inbox that came in or was changed, in its newest state. Whoever puts it in the place of what was known of it, and takes over the unread count, shows the inbox as it is.',
})
export class InboxChange {
  @Field(() => String, {
    description: 'Its place among the changes: where `inboxChanged(after)` goes on from. Opaque.',
  })
  cursor!: string;

  @Field(() => InboxChangeKind, { description: 'What happened to it last.' })
  kind!: string;

  @Field(() => Notification, { description: 'The notification.' })
  notification!: Notification;

  @Field(() => Int, { description: 'How many notifications of the inbox are unread.' })
  unreadCount!: number;
}

@ObjectType({
  description:
    'A change of an inbox that only its owner can read: see `schema/stream-protocol.md`. Opened, it is the JSON of an `InboxChange` with every field of its notification.',
})
export class SealedPayload {
  @Field(() => String, { description: 'Its place among the changes: where `sealedInboxChanged(after)` goes on from.' })
  cursor!: string;

  @Field(() => String, { description: 'The public key that this payload was sealed with (base64url).' })
  serverPublicKey!: string;

  @Field(() => String, { description: 'Salt of the key derivation (base64url).' })
  salt!: string;

  @Field(() => String, { description: 'Ciphertext and tag (base64url).' })
  ciphertext!: string;
}

@ArgsType()
export class SealedArgs extends AfterArgs {
  @Field(() => String, { description: "The reader's public key: P-256, uncompressed point, base64url." })
  clientPublicKey!: string;
}

const toChange = ({ notification, unreadCount }: ChangeRow): InboxChange => ({
  cursor: inboxCursor.encode(notification.seq),
  kind: kindOf(notification),
  notification: toNotification(notification),
  unreadCount,
});

function kindOf({ archivedAt, createdSeq, seq, readAt }: ChangeRow['notification']): string {
  if (archivedAt !== null) return 'archived';
  if (createdSeq === seq) return 'created';
  return readAt === null ? 'unread' : 'read';
}

@Resolver(() => InboxChange)
export class InboxChangeResolver {
  @SignedIn()
  @Subscription(() => InboxChange, {
    description:
      'Each notification that comes into my inbox or is changed, and the unread count, as one ordered stream. What changed several times in between is given once.',
    subscribe: async ({ args, context }: { args: AfterArgs; context: GraphContext }) =>
      new LiveSource(await context.core.inboxFeeds.changed(signedIn(context), positionAfter(args)), context),
  })
  inboxChanged(@Root() change: ChangeRow, @Args(() => AfterArgs) _args: AfterArgs): InboxChange {
    return toChange(change);
  }

  @SignedIn()
  @Subscription(() => SealedPayload, {
    description: '`inboxChanged`, sealed for the reader: for connections that end at a gateway.',
    subscribe: async ({ args, context }: { args: SealedArgs; context: GraphContext }) => {
      seal(args, context, '');
      const feed = await context.core.inboxFeeds.changed(signedIn(context), positionAfter(args));
      // What is sealed for one key is of no use to another.
      return new LiveSource(
        mapFeed(feed, args.clientPublicKey, (change) => change),
        context,
      );
    },
  })
  sealedInboxChanged(
    @Root() change: ChangeRow,
    @Args(() => SealedArgs) args: SealedArgs,
    @Ctx() context: GraphContext,
  ): SealedPayload {
    const opened = toChange(change);
    return { cursor: opened.cursor, ...seal(args, context, JSON.stringify(opened)) };
  }
}

function seal({ clientPublicKey }: SealedArgs, context: GraphContext, plaintext: string) {
  const { tenantId, userId } = signedIn(context);
  try {
    return sealPayload({ clientPublicKey, tenantId, userId, plaintext });
  } catch (error) {
    if (!(error instanceof SealError)) throw error;
    throw validationFailed([{ path: 'clientPublicKey', message: error.message }]);
  }
}
