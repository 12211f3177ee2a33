import { composeServices as composeWithApollo } from '@apollo/composition';
import { composeServices as composeWithHive } from '@theguild/federation-composition';
import { federateSubgraphs, ROUTER_COMPATIBILITY_VERSION_ONE } from '@wundergraph/composition';
import { parse } from 'graphql';

import type { Compose, Composers } from '../support/peers.ts';

const apollo: Compose = (subgraphs) => {
  const { errors, hints, supergraphSdl } = composeWithApollo(subgraphs);
  return {
    problems: [...(errors ?? []), ...(hints ?? [])].map(String),
    supergraph: parse(supergraphSdl ?? 'scalar None'),
  };
};

const hive: Compose = (subgraphs) => {
  const { errors, supergraphSdl } = composeWithHive(subgraphs);
  return { problems: (errors ?? []).map(String), supergraph: parse(supergraphSdl ?? 'scalar None') };
};

const wunderGraph: Compose = (subgraphs) => {
  const result = federateSubgraphs({
    subgraphs: subgraphs.map(({ name, url, typeDefs }) => ({ name, url, definitions: typeDefs })),
    version: ROUTER_COMPATIBILITY_VERSION_ONE,
  });
  return {
    problems: [...(result.success ? [] : result.errors), ...result.warnings].map(String),
    supergraph: result.success ? result.federatedGraphAST : parse('scalar None'),
  };
};

export const composers: Composers['composers'] = {
  '@apollo/composition': apollo,
  '@theguild/federation-composition': hive,
  '@wundergraph/composition': wunderGraph,
};
