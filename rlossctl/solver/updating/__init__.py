"""What an update changes and by how much: policies, update rules, schedules, averages, frozen layers."""
