import { PanelProps, cacheFieldDisplayNames } from '@grafana/data';
import { TableCellHeight } from '@grafana/schema';
import { TableNG } from '@grafana/ui/unstable';
import { useMemo } from 'react';

import { Nothing, plugin } from './common';

function Table({ data, fieldConfig, height, options, timeRange, width }: PanelProps) {
  useMemo(() => cacheFieldDisplayNames(data.series), [data.series]);
  const frame = data.series[options.frameIndex ?? 0];
  if (!frame?.length) {
    return <Nothing fieldConfig={fieldConfig} />;
  }
  return (
    <TableNG
      cellHeight={options.cellHeight ?? TableCellHeight.Sm}
      data={frame}
      enableVirtualization
      fieldConfig={fieldConfig}
      height={height}
      initialSortBy={options.sortBy}
      noHeader={options.showHeader === false}
      resizable
      showTypeIcons={options.showTypeIcons}
      structureRev={data.structureRev}
      timeRange={timeRange}
      width={width}
    />
  );
}

export const table = plugin(Table, 'thresholds', {
  align: 'auto',
  cellOptions: { type: 'auto' },
  filterable: false,
  footer: undefined,
  hideHeader: undefined,
  hideFrom: { viz: false },
  inspect: false,
  minWidth: undefined,
  styleField: undefined,
  tooltip: undefined,
  width: undefined,
  wrapHeaderText: false,
  wrapText: undefined,
});
