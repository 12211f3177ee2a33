import { Arg, Args, Ctx, Field, ID, InputType, Mutation, ObjectType, Query, Resolver } from 'type-graphql';

import type { Core } from '../../src/core.ts';
import type { Channel } from '../../src/intake/channel.ts';
import { idCursor } from '../../src/paging/page.ts';
import type { Suppression as SuppressionRow, SuppressionReason as Reason } from '../../src/preferences/suppressions.ts';
import { connectionOf, Paged, PageArgs, toConnection } from '../server/connection.ts';
import { type GraphContext, signedIn } from '../server/context.ts';
import { NotificationChannel, SuppressionReason } from '../server/enums.ts';
import { Costs, Requires, SignedIn, Sized } from '../server/requires.ts';
import { DateTime } from '../server/scalars.ts';

@ObjectType({ description: 'Whether the person who asks gets a category through a channel.' })
export class NotificationPreference {
  @Field(() => String, { description: 'The category, as events name it.' })
  category!: string;

  @Field(() => String, { nullable: true, description: 'What to call it.' })
  name!: string | null;

  @Field(() => String, { nullable: true, description: 'What it is about.' })
  description!: string | null;

  @Field(() => NotificationChannel, { description: 'Through which channel.' })
  channel!: Channel;

  @Field(() => Boolean, { description: 'It comes through this channel.' })
  isEnabled!: boolean;

  @Field(() => Boolean, { description: 'Nobody can opt out of it.' })
  isMandatory!: boolean;
}

@InputType({ description: 'A decision about one category on one channel.' })
export class UpdateNotificationPreferenceInput {
  @Field(() => String, { description: 'The category.' })
  category!: string;

  @Field(() => NotificationChannel, { description: 'The channel.' })
  channel!: Channel;

  @Field(() => Boolean, { description: 'Whether it shall come.' })
  isEnabled!: boolean;

  @Field(() => String, { nullable: true, description: 'Own time zone (IANA), for quiet hours; null forgets it.' })
  timeZone?: string | null;
}

@ObjectType({ description: 'An address that is not used any more.' })
export class Suppression {
  @Field(() => ID, { description: 'Its id.' })
  id!: string;

  @Field(() => NotificationChannel, { description: 'On which channel.' })
  channel!: Channel;

  @Field(() => String, { description: 'The address, masked.' })
  address!: string;

  @Field(() => String, { nullable: true, description: 'Of which category; null: of all.' })
  category!: string | null;

  @Field(() => SuppressionReason, { description: 'Why.' })
  reason!: Reason;

  @Field(() => ID, { nullable: true, description: 'The delivery record that found out.' })
  sourceLogId!: string | null;

  @Field(() => String, { nullable: true, description: 'Who added it by hand.' })
  createdBy!: string | null;

  @Field(() => DateTime, { description: 'Since when.' })
  createdAt!: Date;
}

@InputType({ description: 'An address to be used no more.' })
export class SuppressAddressInput {
  @Field(() => NotificationChannel, { description: 'On which channel.' })
  channel!: Channel;

  @Field(() => String, { description: 'The address.' })
  address!: string;

  @Field(() => String, { nullable: true, description: 'Of which category; absent: of all.' })
  category?: string | null;
}

const toSuppression = ({ addressMasked, category, ...row }: SuppressionRow): Suppression => ({
  ...row,
  address: addressMasked,
  category: category === '' ? null : category,
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
    description: "The caller's own preferences, every category on every channel.",
  })
  notificationPreferences(@Ctx() context: GraphContext): Promise<NotificationPreference[]> {
    return this.#core.preferences.list(signedIn(context));
  }

  @SignedIn()
  @Costs(10)
  @Mutation(() => NotificationPreference, { description: 'Opts the caller in or out of a category on a channel.' })
  updateNotificationPreference(
    @Arg('input', () => UpdateNotificationPreferenceInput, { description: 'What is decided.' })
    input: UpdateNotificationPreferenceInput,
    @Ctx() context: GraphContext,
  ): Promise<NotificationPreference> {
    return this.#core.preferences.update(signedIn(context), input);
  }

  @Requires('notif.read.log')
  @Paged()
  @Query(() => SuppressionConnection, { description: 'Addresses that are not used any more, newest first.' })
  async suppressions(@Args(() => PageArgs) args: PageArgs, @Ctx() context: GraphContext) {
    const page = await this.#core.suppressions.list(signedIn(context).tenantId, args);
    return toConnection(page, idCursor, (row) => row.id, toSuppression);
  }

  @Requires('notif.write.config')
  @Costs(10)
  @Mutation(() => Suppression, { description: 'Takes an address out of use.' })
  async suppressAddress(
    @Arg('input', () => SuppressAddressInput, { description: 'Which one.' }) input: SuppressAddressInput,
    @Ctx() context: GraphContext,
  ): Promise<Suppression> {
    const { channel, address, category } = input;
    const subject = { channel, address, category: category ?? '' };
    return toSuppression(await this.#core.suppressions.add(signedIn(context), subject, context.traceId));
  }

  @Requires('notif.write.config')
  @Costs(10)
  @Mutation(() => Suppression, { description: 'Lets an address be used again.' })
  async unsuppressAddress(
    @Arg('id', () => ID, { description: 'Its place on the list.' }) id: string,
    @Ctx() context: GraphContext,
  ): Promise<Suppression> {
    return toSuppression(await this.#core.suppressions.remove(signedIn(context), id, context.traceId));
  }
}
