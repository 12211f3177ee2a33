import { Arg, Args, Ctx, Field, ID, InputType, Mutation, ObjectType, Query, Resolver } from 'type-graphql';

import type { Core } from '../../src/core.ts';
import type { Channel } from '../../src/intake/channel.ts';
import { idCursor } from '../../src/paging/page.ts';
import type {
  Suppression as SuppressionRow,
  SuppressionReason as Reason,
} from '../../src/preferences/suppression.entity.ts';
import { connectionOf, Paged, PageArgs, toConnection } from '../server/connection.ts';
import { type GraphContext, signedIn } from '../server/context.ts';
import { NotificationChannel, SuppressionReason } from '../server/enums.ts';
import { Costs, Requires, SignedIn, Sized } from '../server/requires.ts';
import { DateTime } from '../server/scalars.ts';

@ObjectType({ description: 'Preference of the signed-in user for one category on one channel.' })
export class NotificationPreference {
  @Field(() => String, { description: 'Key of the category, as events use it, for example `marketing`.' })
  category!: string;

  @Field(() => String, {
    nullable: true,
    description: 'Display name of the category; null when the tenant has not set one.',
  })
  name!: string | null;

  @Field(() => String, {
    nullable: true,
    description: 'Description of the category for users; null when the tenant has not set one.',
  })
  description!: string | null;

  @Field(() => NotificationChannel, { description: 'Channel that the preference applies to.' })
  channel!: Channel;

  @Field(() => Boolean, { description: 'Whether the user receives the category on this channel.' })
  isEnabled!: boolean;

  @Field(() => Boolean, { description: 'Whether the category is mandatory, so that users cannot opt out of it.' })
  isMandatory!: boolean;
}

@InputType({ description: 'New preference for one category on one channel.' })
export class UpdateNotificationPreferenceInput {
  @Field(() => String, { description: 'Key of the category, for example `marketing`.' })
  category!: string;

  @Field(() => NotificationChannel, { description: 'Channel that the preference applies to.' })
  channel!: Channel;

  @Field(() => Boolean, { description: 'True to opt in, false to opt out.' })
  isEnabled!: boolean;

  @Field(() => String, {
    nullable: true,
    description:
      "The user's time zone for quiet hours, as an IANA name, for example `Asia/Ho_Chi_Minh`. Null clears it; absent keeps it.",
  })
  timeZone?: string | null;
}

@ObjectType({ description: 'An address to which the service does not send.' })
export class Suppression {
  @Field(() => ID, { description: 'ID of the suppression.' })
  id!: string;

  @Field(() => NotificationChannel, { description: 'Channel on which the address is suppressed.' })
  channel!: Channel;

  @Field(() => String, { description: 'Masked address.' })
  address!: string;

  @Field(() => String, {
    nullable: true,
    description: 'Category that is suppressed; null when all categories are suppressed.',
  })
  category!: string | null;

  @Field(() => SuppressionReason, { description: 'Reason for the suppression.' })
  reason!: Reason;

  @Field(() => ID, {
    nullable: true,
    description: 'ID of the delivery record that caused the suppression; null when no delivery caused it.',
  })
  sourceLogId!: string | null;

  @Field(() => String, {
    nullable: true,
    description: 'ID of the admin who added the suppression; null when it was added automatically.',
  })
  createdBy!: string | null;

  @Field(() => DateTime, { description: 'When the suppression was added.' })
  createdAt!: Date;
}

@InputType({ description: 'Address to suppress.' })
export class SuppressAddressInput {
  @Field(() => NotificationChannel, { description: 'Channel on which the address is suppressed.' })
  channel!: Channel;

  @Field(() => String, {
    description: 'Address in the format of the channel, for example an email address or a phone number.',
  })
  address!: string;

  @Field(() => String, { nullable: true, description: 'Category to suppress; when absent, all categories.' })
  category?: string | null;
}

const toSuppression = (row: SuppressionRow): Suppression => ({
  id: row.id,
  channel: row.channel,
  address: row.addressMasked,
  category: row.category === '' ? null : row.category,
  reason: row.reason,
  sourceLogId: row.sourceLogId,
  createdBy: row.createdBy,
  createdAt: row.createdAt,
});

const SuppressionConnection = connectionOf('Suppression', Suppression);

@Resolver()
export class PreferenceResolver {
  readonly #core: Core;

  constructor(core: Core) {
    this.#core = core;
  }

  @SignedIn()
  @Sized(100)
  @Query(() => [NotificationPreference], {
    description: "Lists the signed-in user's preferences, one for each category and channel.",
  })
  notificationPreferences(@Ctx() context: GraphContext): Promise<NotificationPreference[]> {
    return this.#core.preferences.list(signedIn(context));
  }

  @SignedIn()
  @Costs(10)
  @Mutation(() => NotificationPreference, {
    description: 'Opts the signed-in user in or out of a category on a channel.',
  })
  updateNotificationPreference(
    @Arg('input', () => UpdateNotificationPreferenceInput, { description: 'New preference.' })
    input: UpdateNotificationPreferenceInput,
    @Ctx() context: GraphContext,
  ): Promise<NotificationPreference> {
    return this.#core.preferences.update(signedIn(context), input);
  }

  @Requires('notif.read.log')
  @Paged()
  @Query(() => SuppressionConnection, { description: 'Lists the suppressed addresses of the tenant, newest first.' })
  async suppressions(@Args(() => PageArgs) args: PageArgs, @Ctx() context: GraphContext) {
    const page = await this.#core.suppressions.list(signedIn(context).tenantId, args);
    return toConnection(page, idCursor, (row) => row.id, toSuppression);
  }

  @Requires('notif.write.config')
  @Costs(10)
  @Mutation(() => Suppression, { description: 'Suppresses an address, so that the service does not send to it.' })
  async suppressAddress(
    @Arg('input', () => SuppressAddressInput, { description: 'Address to suppress.' }) input: SuppressAddressInput,
    @Ctx() context: GraphContext,
  ): Promise<Suppression> {
    const { channel, address, category } = input;
    const subject = { channel, address, category: category ?? '' };
    return toSuppression(await this.#core.suppressions.add(signedIn(context), subject, context.traceId));
  }

  @Requires('notif.write.config')
  @Costs(10)
  @Mutation(() => Suppression, {
    description: 'Removes a suppression, so that the service sends to the address again.',
  })
  async unsuppressAddress(
    @Arg('id', () => ID, { description: 'ID of the suppression.' }) id: string,
    @Ctx() context: GraphContext,
  ): Promise<Suppression> {
    return toSuppression(await this.#core.suppressions.remove(signedIn(context), id, context.traceId));
  }
}
