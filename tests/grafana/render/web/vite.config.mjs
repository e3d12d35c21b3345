import { cpSync } from 'node:fs';
import { defineConfig } from 'vite';

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

export default defineConfig({
  build: {
    chunkSizeWarningLimit: 20000,
    minify: false,
    modulePreload: false,
    reportCompressedSize: false,
    // Some packages name exports that are types only.
    rollupOptions: { shimMissingExports: true, onwarn: () => {} },
    target: 'es2022',
  },
  define: { 'process.env.NODE_ENV': '"production"' },
  esbuild: { jsx: 'automatic' },
  plugins: [
    {
      name: 'what-the-server-has',
      // At its places below __grafana_public_path__.
      closeBundle() {
        cpSync('node_modules/@grafana/ui/dist/public', 'dist/build', { recursive: true });
        // Those that the package uses and lacks.
        cpSync('icons', 'dist/build/img/icons/unicons', { recursive: true });
        for (const [name, weight] of [['Regular', 400], ['Medium', 500]]) {
          const font = `node_modules/@fontsource/inter/files/inter-latin-${weight}-normal.woff2`;
          cpSync(font, `dist/fonts/inter/Inter-${name}.woff2`);
        }
      },
    },
  ],
  resolve: {
    alias: { 'react-router-dom-v5-compat': 'react-router-dom' },
    // Registries and contexts are global to a module, so there may be one copy of each.
    dedupe: shared,
  },
});
