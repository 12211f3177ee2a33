import { Arg, Ctx, Field, Float, ID, Int, ObjectType, Query, Resolver } from 'type-graphql';

import type { Core } from '../../src/core.ts';
import type { Dimension, Statistic } from '../../src/delivery/statistics.ts';
import { type GraphContext, signedIn } from '../server/context.ts';
import { NotificationChannel, NotificationStatus, StatisticsDimension } from '../server/enums.ts';
import { Costs, Requires, Sized } from '../server/requires.ts';
import { DateTime } from '../server/scalars.ts';

@ObjectType({ description: 'What became of the events of a group. What was not grouped by is null.' })
export class DeliveryStatistic implements Statistic {
  @Field(() => NotificationChannel, { nullable: true, description: 'Those of this channel.' })
  channel!: Statistic['channel'];

  @Field(() => NotificationStatus, { nullable: true, description: 'Those that stand so.' })
  status!: Statistic['status'];

  @Field(() => String, { nullable: true, description: 'Those of this event code.' })
  eventCode!: string | null;

  @Field(() => ID, { nullable: true, description: 'Those made from this template.' })
  templateId!: string | null;

  @Field(() => DateTime, { nullable: true, description: 'Those accepted in the hour or day (UTC) that begins here.' })
  periodStart!: Date | null;

  @Field(() => Int, { description: 'How many there are, tests left out.' })
  count!: number;

  @Field(() => Int, { description: 'How many of them were sent.' })
  sent!: number;

  @Field(() => Float, {
    nullable: true,
    description: 'Half of those sent took so many milliseconds at most, from when they were due.',
  })
  p50Ms!: number | null;

  @Field(() => Float, {
    nullable: true,
    description: '95 % of those sent took so many milliseconds at most, from when they were due.',
  })
  p95Ms!: number | null;
}

@Resolver(() => DeliveryStatistic)
export class DeliveryStatisticResolver {
  readonly #core: Core;

  constructor(core: Core) {
    this.#core = core;
  }

  @Requires('notif.read.log')
  @Costs(100)
  @Sized(10)
  @Query(() => [DeliveryStatistic], {
    description: 'What became of the events that were accepted in a time of 92 days at most, in 1 000 groups at most.',
  })
  deliveryStatistics(
    @Arg('from', () => DateTime, { description: 'Accepted at or after this time.' }) from: Date,
    @Arg('to', () => DateTime, { description: 'Accepted before this time.' }) to: Date,
    @Arg('groupBy', () => [StatisticsDimension], { nullable: true, description: 'What to tell apart.' })
    groupBy: Dimension[] | null | undefined,
    @Ctx() context: GraphContext,
  ): Promise<DeliveryStatistic[]> {
    return this.#core.delivery.statistics(signedIn(context).tenantId, { from, to }, groupBy ?? []);
  }
}
