import { Args, Ctx, Field, ID, ObjectType, Query, Resolver } from 'type-graphql';

import type { Core } from '../../src/core.ts';
import type { Transport } from '../../src/live/clients.ts';
import { idCursor } from '../../src/paging/page.ts';
import { connectionOf, Paged, PageArgs, toConnection } from '../server/connection.ts';
import { type GraphContext, signedIn } from '../server/context.ts';
import { ClientTransport } from '../server/enums.ts';
import { Requires } from '../server/requires.ts';
import { DateTime } from '../server/scalars.ts';

@ObjectType({ description: 'An open subscription connection of a user of the tenant.' })
export class ConnectedClient {
  @Field(() => ID, {
    description:
      'ID of the connection. The client receives the same value as `clientId` when the server acknowledges the connection.',
  })
  id!: string;

  @Field(() => ID, { description: 'ID of the connected user.' })
  userId!: string;

  @Field(() => ID, { description: 'ID of the service instance that holds the connection.' })
  instanceId!: string;

  @Field(() => ClientTransport, { description: 'Transport of the connection.' })
  transport!: Transport;

  @Field(() => DateTime, { description: 'When the connection was opened.' })
  connectedAt!: Date;
}

export const ConnectedClientConnection = connectionOf('ConnectedClient', ConnectedClient);

@Resolver(() => ConnectedClient)
export class ConnectedClientResolver {
  readonly #core: Core;

  constructor(core: Core) {
    this.#core = core;
  }

  @Requires('notif.read.client')
  @Paged()
  @Query(() => ConnectedClientConnection, {
    description:
      'Lists the open connections of the tenant on all service instances, newest first. Connections of a crashed instance disappear within 30 seconds.',
  })
  async connectedClients(@Args(() => PageArgs) args: PageArgs, @Ctx() context: GraphContext) {
    const page = await this.#core.clients.list(signedIn(context).tenantId, args);
    return toConnection(
      page,
      idCursor,
      (row) => row.id,
      (row): ConnectedClient => row,
    );
  }
}
