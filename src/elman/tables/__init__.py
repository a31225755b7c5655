"""Tables, series and time stamps: whatever came, read into columns, series by id, and a clock."""
