"""Report pages: one self-contained HTML file for a run or a comparison."""
