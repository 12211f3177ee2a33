import { Args, ArgsType, Ctx, Field, Int, ObjectType, Resolver, Root, Subscription } from 'type-graphql';

import { validationFailed } from '../../src/errors.ts';
import { mapFeed } from '../../src/live/feed.ts';
import type { InboxChange as ChangeRow } from '../../src/live/inbox-feeds.ts';
import { SealError, sealPayload } from '../../src/live/seal.ts';
import { inboxCursor } from '../../src/paging/page.ts';
import { type GraphContext, signedIn } from '../server/context.ts';
import { InboxChangeKind } from '../server/enums.ts';
import { LiveSource } from '../subscriptions/source.ts';
import { AfterArgs, Notification, positionAfter, toNotification, toNotificationJson } from './notification.ts';
import { SignedIn } from '../server/requires.ts';

@ObjectType({
  description:
    "A new or changed notification of the signed-in user's inbox, in its current state. To keep a list up to date, replace the notification that has the same id, or add it, and display `unreadCount`.",
})
export class InboxChange {
  @Field(() => String, {
    description: 'Opaque cursor of this change. Pass it to `inboxChanged(after)` to resume after this change.',
  })
  cursor!: string;

  @Field(() => InboxChangeKind, { description: 'The most recent change of the notification.' })
  kind!: string;

  @Field(() => Notification, { description: 'The notification in its current state.' })
  notification!: Notification;

  @Field(() => Int, { description: 'Number of unread notifications in the inbox.' })
  unreadCount!: number;
}

@ObjectType({
  description:
    'An encrypted inbox change that only the subscriber can decrypt, as `schema/stream-protocol.md` describes. The plaintext is the JSON of an `InboxChange` with every field of its notification.',
})
export class SealedPayload {
  @Field(() => String, {
    description: 'Opaque cursor of this change. Pass it to `sealedInboxChanged(after)` to resume after this change.',
  })
  cursor!: string;

  @Field(() => String, { description: "The server's ephemeral public key for this payload, as base64url." })
  serverPublicKey!: string;

  @Field(() => String, { description: 'Salt of the key derivation, as base64url.' })
  salt!: string;

  @Field(() => String, { description: 'Ciphertext followed by the authentication tag, as base64url.' })
  ciphertext!: string;
}

@ArgsType()
export class SealedArgs extends AfterArgs {
  @Field(() => String, { description: "The subscriber's P-256 public key: an uncompressed point, as base64url." })
  clientPublicKey!: string;
}

const toChange = ({ notification, unreadCount }: ChangeRow): InboxChange => ({
  cursor: inboxCursor.encode(notification.seq),
  kind: kindOf(notification),
  notification: toNotification(notification),
  unreadCount,
});

/** The plaintext of a sealed payload: the same JSON as a response of `inboxChanged`, with the enums' GraphQL names. */
const toJson = ({ notification, ...change }: InboxChange): string =>
  JSON.stringify({ ...change, kind: change.kind.toUpperCase(), notification: toNotificationJson(notification) });

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
      "Delivers each new or changed notification of the signed-in user's inbox, with the unread count, in order. A notification that changed several times since the cursor is delivered once, in its current state.",
    subscribe: async ({ args, context }: { args: AfterArgs; context: GraphContext }) =>
      new LiveSource(await context.core.inboxFeeds.changed(signedIn(context), positionAfter(args)), context),
  })
  inboxChanged(@Root() change: ChangeRow, @Args(() => AfterArgs) _args: AfterArgs): InboxChange {
    return toChange(change);
  }

  @SignedIn()
  @Subscription(() => SealedPayload, {
    description:
      'Delivers the same changes as `inboxChanged`, encrypted for the subscriber. Use it when the connection ends at a gateway that must not read notifications.',
    subscribe: async ({ args, context }: { args: SealedArgs; context: GraphContext }) => {
      seal(args, context, '');
      const feed = await context.core.inboxFeeds.changed(signedIn(context), positionAfter(args));
      // Subscribers share executions of the same feed, but only the owner of this key can decrypt its payloads.
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
    return { cursor: opened.cursor, ...seal(args, context, toJson(opened)) };
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
