import { createClient } from 'graphql-ws/client';

import { connect, createPayloadKeys, openSealedPayload, resume, SealedWebSocket } from '../../../client/index.ts';

// Functions of a front end that the test calls. They run in the browser.

Object.assign(globalThis, {
  /** Runs one query with a standard graphql-ws client over the sealed socket. */
  ask: async (url: string, token: string, query: string): Promise<unknown> => {
    const client = createClient({ url, webSocketImpl: SealedWebSocket, connectionParams: { token } });
    const answers = client.iterate({ query });
    const { value } = await answers.next();
    await client.dispose();
    return value;
  },
  /** Returns the titles of the first `count` notifications after a cursor. */
  follow: async (url: string, token: string, after: string, count: number): Promise<unknown[]> => {
    const client = connect({ url, token });
    const seen: unknown[] = [];
    const query = 'subscription ($after: String) { notificationCreated(after: $after) { cursor title } }';
    const inbox = resume<{ notificationCreated: { cursor: string; title: string } }>(client, {
      query,
      after,
      cursorOf: (data) => data.notificationCreated.cursor,
    });
    for await (const message of inbox) {
      seen.push(message.data?.notificationCreated.title);
      if (seen.length === count) break;
    }
    await client.dispose();
    return seen;
  },
  createPayloadKeys,
  openSealedPayload,
});
