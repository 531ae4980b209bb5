"""Chaos: many renders while all that takes part in them is killed and hindered, and a verdict.

```text
__main__         the command line
storm            hands out renders, kills, restarts; then calm, until every render is kept
worker           a process that renders what it is handed
fault_injection  what share of the requests fails, and how
victims          the renderer and the workers, as processes that are killed
strangers        a server of nobody's and its gateway, in the renderer's place
verdict          what was asked for, paid for and kept, read from the store and the server alone
orders           which renders there are
```
"""
