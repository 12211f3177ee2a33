import graphql from '@graphql-eslint/eslint-plugin';

const schema = './schema/subgraph.graphql';
/** Names that Federation prescribes. */
const FEDERATION = '^(_|link__|federation__)';

/** Naming rules of the GraphQL schema and of the saved operations. TypeScript is checked by oxlint. */
export default [
  { ignores: ['**/*', '!schema', '!schema/**/*.graphql'] },
  {
    files: ['schema/**/*.graphql'],
    languageOptions: {
      parser: graphql.parser,
      parserOptions: { graphQLConfig: { schema, documents: './schema/operations/*.graphql' } },
    },
    plugins: { '@graphql-eslint': graphql },
  },
  {
    files: [schema.slice(2)],
    rules: {
      '@graphql-eslint/naming-convention': [
        'error',
        {
          ...graphql.configs['flat/schema-recommended'].rules['@graphql-eslint/naming-convention'][1],
          types: { style: 'PascalCase', ignorePattern: FEDERATION },
          FieldDefinition: { style: 'camelCase', ignorePattern: FEDERATION },
          DirectiveDefinition: { style: 'camelCase', ignorePattern: FEDERATION },
          InputObjectTypeDefinition: { style: 'PascalCase', requiredSuffixes: ['Input', 'Filter'] },
          allowLeadingUnderscore: true,
        },
      ],
      '@graphql-eslint/no-typename-prefix': 'error',
      '@graphql-eslint/no-hashtag-description': 'error',
      '@graphql-eslint/relay-arguments': 'error',
      '@graphql-eslint/relay-connection-types': 'error',
      '@graphql-eslint/relay-page-info': 'error',
      '@graphql-eslint/require-description': [
        'error',
        {
          ObjectTypeDefinition: true,
          InterfaceTypeDefinition: true,
          EnumTypeDefinition: true,
          InputObjectTypeDefinition: true,
          FieldDefinition: true,
          InputValueDefinition: true,
          EnumValueDefinition: true,
          ignoredSelectors: [
            'DirectiveDefinition InputValueDefinition',
            '[name.value=/^(Query|Mutation|Subscription|_.*|link__.*)$/]',
            '[name.value=/^_/] InputValueDefinition',
            'ObjectTypeDefinition[name.value=/^_/] FieldDefinition',
          ],
        },
      ],
    },
  },
  {
    files: ['schema/operations/*.graphql'],
    rules: {
      '@graphql-eslint/naming-convention': [
        'error',
        { VariableDefinition: 'camelCase', OperationDefinition: 'PascalCase', FragmentDefinition: 'PascalCase' },
      ],
      '@graphql-eslint/no-anonymous-operations': 'error',
      '@graphql-eslint/unique-operation-name': 'error',
      '@graphql-eslint/unique-fragment-name': 'error',
      '@graphql-eslint/no-deprecated': 'error',
    },
  },
];
