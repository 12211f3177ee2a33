import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';

export interface PeerRequest {
  method: string;
  path: string;
  headers: IncomingHttpHeaders;
  body: string;
}

export interface HttpPeer {
  url: string;
  /** Complete requests, in order. */
  requests: PeerRequest[];
  /** Answers a request. Tests may replace it. */
  onRequest: (request: PeerRequest, response: ServerResponse<IncomingMessage>) => void;
  close(): Promise<void>;
}

/** An HTTP server that records requests and returns configurable responses. */
export async function startHttpPeer(): Promise<HttpPeer> {
  const peer: HttpPeer = {
    url: '',
    requests: [],
    onRequest: (_request, response) => response.end(),
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  const server = createServer(async (incoming, response) => {
    const body = await text(incoming);
    const { method = '', url: path = '', headers } = incoming;
    const request = { method, path, headers, body };
    peer.requests.push(request);
    peer.onRequest(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  peer.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return peer;
}

export interface PeerReply {
  status: number;
  body?: unknown;
  headers?: Record<string, string>;
}

/** Responds with JSON. */
export function answer(response: ServerResponse<IncomingMessage>, { status, body, headers = {} }: PeerReply): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(body === undefined ? '' : typeof body === 'string' ? body : JSON.stringify(body));
}
