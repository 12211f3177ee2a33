import { Args, Ctx, FieldResolver, Int, Resolver, Root } from 'type-graphql';

import type { Core } from '../../src/core.ts';
import { AppError } from '../../src/errors.ts';
import type { Actor } from '../../src/identity/actor.ts';
import { type GraphContext, signedIn } from '../server/context.ts';
import { Paged } from '../server/connection.ts';
import { NotificationConnection, notificationConnection, NotificationsArgs } from '../inbox/notification.ts';
import { SignedIn } from '../server/requires.ts';
import { UserReference } from './user-reference.ts';

/** Adds the inbox to the platform's `User` type. A user can read only their own inbox. */
@Resolver(() => UserReference)
export class UserResolver {
  readonly #core: Core;

  constructor(core: Core) {
    this.#core = core;
  }

  @SignedIn()
  @Paged()
  @FieldResolver(() => NotificationConnection, {
    description: "Notifications of the user's inbox, newest first. Only the user can read them.",
  })
  notifications(
    @Root() user: UserReference,
    @Args(() => NotificationsArgs) args: NotificationsArgs,
    @Ctx() context: GraphContext,
  ) {
    return notificationConnection(this.#core, ownerOnly(user, context), args);
  }

  @SignedIn()
  @FieldResolver(() => Int, {
    description: "Number of unread notifications in the user's inbox. Only the user can read it.",
  })
  unreadNotificationCount(@Root() user: UserReference, @Ctx() context: GraphContext): Promise<number> {
    return this.#core.inbox.unreadCount(ownerOnly(user, context));
  }
}

function ownerOnly(user: UserReference, context: GraphContext): Actor {
  const actor = signedIn(context);
  if (actor.userId !== user.id) throw new AppError('permission_denied', 'You can read only your own inbox.');
  return actor;
}
