import { cpSync, readFileSync } from 'node:fs';
import { build } from 'esbuild';

// Registries and contexts are global to a module, so there may be one copy of each: that beside this file.
const shared = [
  '@emotion/css',
  '@emotion/react',
  '@grafana/data',
  '@grafana/i18n',
  '@grafana/runtime',
  '@grafana/schema',
  '@grafana/ui',
  'i18next',
  'react',
  'react-dom',
  'react-i18next',
  'react-router-dom',
  'rxjs',
];

await build({
  // An alias is looked up from here, whoever imports it.
  alias: {
    ...Object.fromEntries(shared.map((name) => [name, name])),
    'react-router-dom-v5-compat': 'react-router-dom',
  },
  bundle: true,
  define: { 'process.env.NODE_ENV': '"production"' },
  entryPoints: ['src/main.tsx'],
  format: 'esm',
  jsx: 'automatic',
  // Of an editor that no dashboard opens.
  loader: { '.ttf': 'empty' },
  logLevel: 'error',
  outdir: 'dist',
  plugins: [
    {
      name: 'what-a-package-lacks',
      setup(into) {
        // Scenes imports a value of this module, which has types only.
        into.onLoad({ filter: /composable\/table\/panelcfg\/x\/types\.gen\.mjs$/ }, ({ path }) => ({
          contents: `${readFileSync(path, 'utf8')}\nexport const defaultOptions = {};`,
        }));
      },
    },
  ],
  splitting: true,
  target: 'es2022',
});

cpSync('index.html', 'dist/index.html');
// What the server has, at its places below __grafana_public_path__.
cpSync('node_modules/@grafana/ui/dist/public', 'dist/build', { recursive: true });
// Those that the package uses and lacks.
cpSync('icons', 'dist/build/img/icons/unicons', { recursive: true });
for (const [name, weight] of [['Regular', 400], ['Medium', 500]]) {
  const font = `node_modules/@fontsource/inter/files/inter-latin-${weight}-normal.woff2`;
  cpSync(font, `dist/fonts/inter/Inter-${name}.woff2`);
}
