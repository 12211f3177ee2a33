import { Arg, Ctx, Field, Float, ID, Int, ObjectType, Query, Resolver } from 'type-graphql';

import type { Core } from '../../src/core.ts';
import type { Dimension, Statistic } from '../../src/delivery/statistics.ts';
import { type GraphContext, signedIn } from '../server/context.ts';
import { NotificationChannel, NotificationStatus, StatisticsDimension } from '../server/enums.ts';
import { Costs, Requires, Sized } from '../server/requires.ts';
import { DateTime } from '../server/scalars.ts';

@ObjectType({
  description:
    'Delivery statistics of one group of events whose delivery has ended. A field that `groupBy` does not contain is null.',
})
export class DeliveryStatistic implements Statistic {
  @Field(() => NotificationChannel, {
    nullable: true,
    description: 'Channel of the group; null when the events have no channel or are not grouped by channel.',
  })
  channel!: Statistic['channel'];

  @Field(() => NotificationStatus, {
    nullable: true,
    description: 'Delivery status of the group; null when the events are not grouped by status.',
  })
  status!: Statistic['status'];

  @Field(() => String, {
    nullable: true,
    description: 'Event code of the group; null when the events are not grouped by event code.',
  })
  eventCode!: string | null;

  @Field(() => ID, {
    nullable: true,
    description:
      'ID of the template of the group; null when the events have no template or are not grouped by template.',
  })
  templateId!: string | null;

  @Field(() => DateTime, {
    nullable: true,
    description:
      'Start of the hour or day (UTC) in which the events were accepted; null when they are not grouped by time.',
  })
  periodStart!: Date | null;

  @Field(() => Int, { description: 'Number of events whose delivery has ended, without test notifications.' })
  count!: number;

  @Field(() => Int, { description: 'Number of these events that were sent.' })
  sent!: number;

  @Field(() => Float, {
    nullable: true,
    description: 'Median time from due to sent, in milliseconds, within 10 %; null when none of the events was sent.',
  })
  p50Ms!: number | null;

  @Field(() => Float, {
    nullable: true,
    description:
      '95th percentile of the time from due to sent, in milliseconds, within 10 %; null when none of the events was sent.',
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
    description:
      'Returns delivery statistics of the events that were accepted in a period of at most 92 days, in at most 1 000 groups. Counts events whose delivery has ended, so none with the status `QUEUED`, `SENDING` or `RETRYING`, also after their delivery records were deleted.',
  })
  deliveryStatistics(
    @Arg('from', () => DateTime, {
      description: 'Only events that were accepted at or after this time, rounded down to the full hour in UTC.',
    })
    from: Date,
    @Arg('to', () => DateTime, {
      description: 'Only events that were accepted before this time, rounded up to the full hour in UTC.',
    })
    to: Date,
    @Arg('groupBy', () => [StatisticsDimension], {
      nullable: true,
      description: 'Dimensions to group by; when absent, the result has one group.',
    })
    groupBy: Dimension[] | null | undefined,
    @Ctx() context: GraphContext,
  ): Promise<DeliveryStatistic[]> {
    return this.#core.delivery.statistics(signedIn(context).tenantId, { from, to }, groupBy ?? []);
  }
}
