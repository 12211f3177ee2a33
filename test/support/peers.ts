import { join } from 'node:path';

import type { DocumentNode } from 'graphql';

import { projectRoot } from '../../src/project-root.ts';

// The gateways and composers of other projects are in `test/peers`, which has packages of its own. The global setup
// installs them. Types stop at this file, so that the other tests are checked without those packages.

const PEERS = join(projectRoot, 'test', 'peers');

export interface Subgraph {
  name: string;
  url: string;
  typeDefs: DocumentNode;
}

/** Composes the subgraphs, and returns every error, warning and hint as text. */
export type Compose = (subgraphs: Subgraph[]) => { problems: string[]; supergraph: DocumentNode };

export interface Composers {
  /** By the name of the composer's package. */
  composers: Record<string, Compose>;
}

export interface TraceGateway {
  /** Runs an operation and returns its data. */
  execute(query: string): Promise<unknown>;
  /** `extensions` of each response of the subgraph. */
  extensions: unknown[];
  stop(): Promise<void>;
}

export interface TraceGatewayOptions {
  subgraphUrl: string;
  sdl: string;
  token: string;
  /** Whether the gateway asks the subgraph for a trace. */
  tracesOperations: boolean;
}

export interface ApolloGateways {
  startTraceGateway(options: TraceGatewayOptions): Promise<TraceGateway>;
}

const load = async <Module>(file: string): Promise<Module> => (await import(join(PEERS, file))) as Module;

export const loadComposers = (): Promise<Composers> => load('composers.ts');
export const loadApolloGateways = (): Promise<ApolloGateways> => load('apollo-gateway.ts');
/** Script of the process that runs the gateways. */
export const hiveGatewayScript = join(PEERS, 'hive.ts');
