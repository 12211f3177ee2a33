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
@ObjectType({ description: "A notification in somebody's inbox." })
export class Notification {
  @Field(() => ID, { description: 'Its id.' })
  id!: string;

  @Field(() => String, {
    description: 'Its place in the inbox: where `notificationCreated(after)` goes on from. Opaque.',
  })
  cursor!: string;

  @Field(() => String, { description: 'What happened, e.g. `payment.succeeded`.' })
  type!: string;

  @Field(() => String, { nullable: true, description: 'What people may opt out of.' })
  category!: string | null;

  @Field(() => String, { nullable: true, description: 'Headline.' })
  title!: string | null;

  @Field(() => String, { description: 'Text.' })
  body!: string;

  @Field(() => JSONObject, { nullable: true, description: 'Whatever the producer added for the front end.' })
  data!: Record<string, unknown> | null;

  @Field(() => String, { nullable: true, description: 'Where a click leads.' })
  actionUrl!: string | null;

  @Field(() => RecipientScope, { description: 'Whom it was for.' })
  recipientScope!: string;

  @Field(() => UserReference, { nullable: true, description: 'Who caused it.' })
  actor!: UserReference | null;

  @Field(() => DateTime, { description: 'When it came into the inbox.' })
  createdAt!: Date;

  @Field(() => DateTime, { nullable: true, description: 'When it was read; null while it is unread.' })
  readAt!: Date | null;

  @Field(() => DateTime, { nullable: true, description: 'When it was archived; null while it is not.' })
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

@InputType({ description: 'Which notifications of the inbox to show. Conditions are joined by "and".' })
export class NotificationFilter {
  @Field(() => Boolean, { nullable: true, description: 'Only read (true) or only unread (false) ones.' })
  isRead?: boolean | null;

  @Field(() => Boolean, { nullable: true, description: 'Archived ones instead of the others.' })
  isArchived?: boolean | null;

  @Field(() => [String], { nullable: true, description: 'Of one of these types.' })
  types?: string[] | null;

  @Field(() => [String], { nullable: true, description: 'Of one of these categories.' })
  categories?: string[] | null;
}

@ObjectType({ description: 'A page of an inbox (Relay).' })
export class NotificationConnection extends connectionOf('Notification', Notification) {
  @Field(() => String, {
    description: 'Where the inbox stood when this page was read: `inboxChanged(after)` goes on from there.',
  })
  liveCursor!: string;
}

@ArgsType()
export class AfterArgs {
  @Field(() => String, {
    nullable: true,
    description: 'Cursor of the last one that was seen: what came after it is given first. Absent: from now on.',
  })
  after?: string | null;
}

/** The place in an inbox from which a subscription goes on; undefined: from now on. */
export const positionAfter = ({ after }: AfterArgs): number | undefined =>
  after ? Number(inboxCursor.decode(after, 'after')) : undefined;

@ArgsType()
export class NotificationsArgs extends PageArgs {
  @Field(() => NotificationFilter, { nullable: true, description: 'Which ones.' })
  filter?: NotificationFilter | null;
}

/** A page of an inbox as a connection, for `Query.notifications` and `User.notifications`. */
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
  @Query(() => NotificationConnection, { description: 'My inbox, newest first.' })
  notifications(@Args(() => NotificationsArgs) args: NotificationsArgs, @Ctx() context: GraphContext) {
    return notificationConnection(this.#core, signedIn(context), args);
  }

  @SignedIn()
  @Query(() => Notification, { nullable: true, description: 'One notification of my inbox.' })
  async notification(
    @Arg('id', () => ID, { description: 'Its id.' }) id: string,
    @Ctx() context: GraphContext,
  ): Promise<Notification | null> {
    const row = await context.loaders.notification.load(id);
    return row && toNotification(row);
  }

  @SignedIn()
  @Query(() => Int, { description: 'How many notifications of my inbox are unread.' })
  unreadNotificationCount(@Ctx() context: GraphContext): Promise<number> {
    return this.#core.inbox.unreadCount(signedIn(context));
  }

  @SignedIn()
  @Costs(10)
  @Mutation(() => Notification, { description: 'Marks a notification of my inbox as read.' })
  async markNotificationRead(
    @Arg('id', () => ID, { description: 'Its id.' }) id: string,
    @Ctx() context: GraphContext,
  ): Promise<Notification> {
    return toNotification(await this.#core.inbox.change(signedIn(context), id, 'read'));
  }

  @SignedIn()
  @Costs(10)
  @Mutation(() => Notification, { description: 'Marks a notification of my inbox as unread again.' })
  async markNotificationUnread(
    @Arg('id', () => ID, { description: 'Its id.' }) id: string,
    @Ctx() context: GraphContext,
  ): Promise<Notification> {
    return toNotification(await this.#core.inbox.change(signedIn(context), id, 'unread'));
  }

  @SignedIn()
  @Costs(10)
  @Mutation(() => Int, { description: 'Marks all notifications of my inbox as read. Says how many were unread.' })
  markAllNotificationsRead(
    @Arg('before', () => DateTime, { nullable: true, description: 'Only those that came in before this time.' })
    before: Date | null | undefined,
    @Ctx() context: GraphContext,
  ): Promise<number> {
    return this.#core.inbox.readAll(signedIn(context), before);
  }

  @SignedIn()
  @Costs(10)
  @Mutation(() => Notification, {
    description: 'Puts a notification of my inbox away: it is listed only when asked for, and not counted as unread.',
  })
  async archiveNotification(
    @Arg('id', () => ID, { description: 'Its id.' }) id: string,
    @Ctx() context: GraphContext,
  ): Promise<Notification> {
    return toNotification(await this.#core.inbox.change(signedIn(context), id, 'archive'));
  }

  @SignedIn()
  @Subscription(() => Notification, {
    description: 'Each notification that comes into my inbox, once and in order.',
    subscribe: async ({ args, context }: { args: AfterArgs; context: GraphContext }) =>
      new LiveSource(await context.core.inboxFeeds.created(signedIn(context), positionAfter(args)), context),
  })
  notificationCreated(@Root() row: InboxNotification, @Args(() => AfterArgs) _args: AfterArgs): Notification {
    return toNotification(row);
  }
}
