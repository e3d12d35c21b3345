import { PanelProps } from '@grafana/data';
import { TimeSeries } from '@grafana/ui';

import { GRAPH, LEGEND, Nothing, empty, plugin } from './common';

function Graph({ data, fieldConfig, height, options, timeRange, timeZone, width }: PanelProps) {
  if (empty(data.series)) {
    return <Nothing fieldConfig={fieldConfig} />;
  }
  return (
    <TimeSeries
      frames={data.series}
      height={height}
      legend={options.legend}
      options={options}
      structureRev={data.structureRev}
      timeRange={timeRange}
      timeZone={timeZone}
      width={width}
    />
  );
}

export const timeseries = plugin(Graph, 'palette-classic', GRAPH, LEGEND);
