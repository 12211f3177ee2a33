import {
  Arg,
  Args,
  ArgsType,
  Ctx,
  Directive,
  Field,
  ID,
  InputType,
  Int,
  Mutation,
  ObjectType,
  Query,
  Resolver,
  Root,
  Subscription,
} from 'type-graphql';

import type { Core } from '../../src/core.ts';
import type { InboxNotification } from '../../src/inbox/notifications.ts';
import { inboxCursor } from '../../src/paging/page.ts';
import { connectionOf, Paged, PageArgs, toConnection } from '../server/connection.ts';
import { type GraphContext, signedIn } from '../server/context.ts';
import { RecipientScope } from '../server/enums.ts';
import { LiveSource } from '../subscriptions/source.ts';
import { Costs, SignedIn } from '../server/requires.ts';
import { DateTime, JSONObject } from '../server/scalars.ts';
import { UserReference } from '../people/user-reference.ts';

@Directive('@key(fields: "id")')
@ObjectType({ description: "A notification in a user's inbox." })
export class Notification {
  @Field(() => ID, { description: 'ID of the notification.' })
  id!: string;

  @Field(() => String, {
    description:
      'Opaque cursor of this notification. Pass it to `notificationCreated(after)` to resume after this notification.',
  })
  cursor!: string;

  @Field(() => String, {
    description: 'Type of the event that caused the notification, for example `payment.succeeded`.',
  })
  type!: string;

  @Field(() => String, {
    nullable: true,
    description: 'Category that users can opt out of, for example `marketing`; null when the event has no category.',
  })
  category!: string | null;

  @Field(() => String, { nullable: true, description: 'Title; null when the template has none.' })
  title!: string | null;

  @Field(() => String, { description: 'Body text.' })
  body!: string;

  @Field(() => JSONObject, {
    nullable: true,
    description: "Additional data from the event's producer for the front end; null when the event has none.",
  })
  data!: Record<string, unknown> | null;

  @Field(() => String, {
    nullable: true,
    description: 'URL to open when the user clicks the notification; null when there is none.',
  })
  actionUrl!: string | null;

  @Field(() => RecipientScope, { description: 'Kind of audience that the event was addressed to.' })
  recipientScope!: string;

  @Field(() => UserReference, {
    nullable: true,
    description: 'User who caused the event; null when the event names no user.',
  })
  actor!: UserReference | null;

  @Field(() => DateTime, { description: 'When the notification was added to the inbox.' })
  createdAt!: Date;

  @Field(() => DateTime, {
    nullable: true,
    description: 'When the user read the notification; null while it is unread.',
  })
  readAt!: Date | null;

  @Field(() => DateTime, {
    nullable: true,
    description: 'When the user archived the notification; null while it is not archived.',
  })
  archivedAt!: Date | null;
}

export const toNotification = (row: InboxNotification): Notification => ({
  id: row.id,
  cursor: inboxCursor.encode(row.createdSeq),
  type: row.type,
  category: row.category,
  title: row.title,
  body: row.body,
  data: row.data,
  actionUrl: row.actionUrl,
  recipientScope: row.recipientScope,
  actor: row.actorId === null ? null : { id: row.actorId },
  createdAt: row.createdAt,
  readAt: row.readAt,
  archivedAt: row.archivedAt,
});

/** A notification outside a GraphQL response: the same JSON, with the GraphQL names of enum values. */
export const toNotificationJson = (notification: Notification): Notification => ({
  ...notification,
  recipientScope: notification.recipientScope.toUpperCase(),
});

@InputType({
  description: 'Filter for notifications of the inbox. A notification must match every condition that is given.',
})
export class NotificationFilter {
  @Field(() => Boolean, {
    nullable: true,
    description: 'When true, only read notifications; when false, only unread notifications; when absent, both.',
  })
  isRead?: boolean | null;

  @Field(() => Boolean, {
    nullable: true,
    description: 'When true, only archived notifications; otherwise only notifications that are not archived.',
  })
  isArchived?: boolean | null;

  @Field(() => [String], {
    nullable: true,
    description: 'Only notifications of one of these types, for example `payment.succeeded`.',
  })
  types?: string[] | null;

  @Field(() => [String], { nullable: true, description: 'Only notifications of one of these categories.' })
  categories?: string[] | null;
}

@ObjectType({ description: 'A page of notifications of an inbox, as a Relay connection.' })
export class NotificationConnection extends connectionOf('Notification', Notification) {
  @Field(() => String, {
    description:
      "Opaque cursor of the inbox's last change when this page was read. Pass it to `inboxChanged(after)` to receive every later change.",
  })
  liveCursor!: string;
}

@ArgsType()
export class AfterArgs {
  @Field(() => String, {
    nullable: true,
    description:
      'Cursor of the last item that the client received. The server delivers every later item first. When absent, the stream starts with the next new item.',
  })
  after?: string | null;
}

/** Returns the inbox position to resume a subscription after; undefined when it starts with the next change. */
export const positionAfter = ({ after }: AfterArgs): number | undefined =>
  after ? Number(inboxCursor.decode(after, 'after')) : undefined;

@ArgsType()
export class NotificationsArgs extends PageArgs {
  @Field(() => NotificationFilter, { nullable: true, description: 'Only notifications that match this filter.' })
  filter?: NotificationFilter | null;
}

/** Returns a page of an inbox as a connection, for `Query.notifications` and `User.notifications`. */
export async function notificationConnection(
  core: Core,
  owner: { tenantId: string; userId: string },
  args: NotificationsArgs,
) {
  const page = await core.inbox.list(owner, args, args.filter);
  return {
    ...toConnection(page, inboxCursor, (row) => row.createdSeq, toNotification),
    liveCursor: inboxCursor.encode(page.lastSeq),
  };
}

@Resolver(() => Notification)
export class NotificationResolver {
  readonly #core: Core;

  constructor(core: Core) {
    this.#core = core;
  }

  @SignedIn()
  @Paged()
  @Query(() => NotificationConnection, {
    description: "Lists the notifications of the signed-in user's inbox, newest first.",
  })
  notifications(@Args(() => NotificationsArgs) args: NotificationsArgs, @Ctx() context: GraphContext) {
    return notificationConnection(this.#core, signedIn(context), args);
  }

  @SignedIn()
  @Query(() => Notification, {
    nullable: true,
    description:
      "Returns one notification of the signed-in user's inbox; null when the inbox has no notification with this id.",
  })
  async notification(
    @Arg('id', () => ID, { description: 'ID of the notification.' }) id: string,
    @Ctx() context: GraphContext,
  ): Promise<Notification | null> {
    const row = await context.loaders.notification.load(id);
    return row && toNotification(row);
  }

  @SignedIn()
  @Query(() => Int, { description: "Number of unread notifications in the signed-in user's inbox." })
  unreadNotificationCount(@Ctx() context: GraphContext): Promise<number> {
    return this.#core.inbox.unreadCount(signedIn(context));
  }

  @SignedIn()
  @Costs(10)
  @Mutation(() => Notification, { description: "Marks a notification of the signed-in user's inbox as read." })
  async markNotificationRead(
    @Arg('id', () => ID, { description: 'ID of the notification.' }) id: string,
    @Ctx() context: GraphContext,
  ): Promise<Notification> {
    return toNotification(await this.#core.inbox.change(signedIn(context), id, 'read'));
  }

  @SignedIn()
  @Costs(10)
  @Mutation(() => Notification, { description: "Marks a notification of the signed-in user's inbox as unread." })
  async markNotificationUnread(
    @Arg('id', () => ID, { description: 'ID of the notification.' }) id: string,
    @Ctx() context: GraphContext,
  ): Promise<Notification> {
    return toNotification(await this.#core.inbox.change(signedIn(context), id, 'unread'));
  }

  @SignedIn()
  @Costs(10)
  @Mutation(() => Int, {
    description:
      "Marks all notifications of the signed-in user's inbox as read. Returns the number of notifications that were unread.",
  })
  markAllNotificationsRead(
    @Arg('before', () => DateTime, {
      nullable: true,
      description: 'Only notifications that were created before this time; when absent, all notifications.',
    })
    before: Date | null | undefined,
    @Ctx() context: GraphContext,
  ): Promise<number> {
    return this.#core.inbox.readAll(signedIn(context), before);
  }

  @SignedIn()
  @Costs(10)
  @Mutation(() => Notification, {
    description:
      "Archives a notification of the signed-in user's inbox. Archived notifications are listed only with the filter `isArchived: true`, and do not count as unread.",
  })
  async archiveNotification(
    @Arg('id', () => ID, { description: 'ID of the notification.' }) id: string,
    @Ctx() context: GraphContext,
  ): Promise<Notification> {
    return toNotification(await this.#core.inbox.change(signedIn(context), id, 'archive'));
  }

  @SignedIn()
  @Subscription(() => Notification, {
    description: "Delivers each new notification of the signed-in user's inbox, once and in order.",
    subscribe: async ({ args, context }: { args: AfterArgs; context: GraphContext }) =>
      new LiveSource(await context.core.inboxFeeds.created(signedIn(context), positionAfter(args)), context),
  })
  notificationCreated(@Root() row: InboxNotification, @Args(() => AfterArgs) _args: AfterArgs): Notification {
    return toNotification(row);
  }
}
