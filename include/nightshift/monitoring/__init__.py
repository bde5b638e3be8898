"""What watches over the nights: drift statistics, alerts, and the pages that people read."""
